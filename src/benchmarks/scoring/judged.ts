// SPDX-License-Identifier: Apache-2.0
// Judge runs from the annotations of records.
import { RecordError } from '../../records/error.ts';
import { isObject, type Place } from '../../records/field.ts';
import type { Annotation, Response, VprefRecord } from '../../records/record.ts';
import { isRecord, recordId } from './answers.ts';
import type { EvalFile } from './file.ts';
import type { EvalOptions } from './score-row.ts';

/** One judge run over one answer. */
export interface Judged {
  id: string;
  at: Place;
  model: string;
  /** Turn, counted from 1. */
  run: number;
  /** Present if and only if the call succeeded. */
  scores?: Record<string, number>;
  verdict?: unknown;
  text?: string;
  /** The outcome, if it is not ok. */
  failed?: string;
  record: VprefRecord;
  response?: Response;
  annotation?: Annotation;
}

/** Whether any row of the files is a vpref record. */
export function holdRecords(files: readonly EvalFile[]): boolean {
  return files.some((file) => file.rows.some((row) => isRecord(row.value)));
}

/** A record with one of its judge runs. */
interface Entry {
  id: string;
  at: Place;
  record: VprefRecord;
  /** Absent if the record failed before judging. */
  annotation?: Annotation;
}

/** The guide's runs over each record. Throws RecordError for a record without one, and for runs of several judges. */
export function readEntries(files: readonly EvalFile[], guide: string, options: EvalOptions): Entry[] {
  const judges = new Set<string>();
  return files.flatMap((file) =>
    file.rows.flatMap(({ value, at }): Entry[] => {
      if (!isRecord(value)) throw new RecordError(at, 'prompt', 'a record, as in other lines', 'a row of another kind');
      const record = value as VprefRecord;
      const head = { id: recordId(record), at, record };
      if (record.error !== undefined) return [head];
      const entries = (record.annotations ?? []).filter(
        (entry) => isOfGuide(entry, guide) && (options.judge === undefined || entry.judge === options.judge),
      );
      if (entries.length === 0)
        throw new RecordError(
          at,
          'annotations',
          `an entry of guide ${guide}`,
          record.annotations === undefined ? 'nothing' : 'other entries',
        );
      for (const { judge } of entries) judges.add(judge);
      if (judges.size > 1)
        throw new RecordError(at, 'annotations', 'one judge (--judge NAME picks one)', [...judges].join(' and '));
      return entries.map((annotation) => ({ ...head, annotation }));
    }),
  );
}

/** Whether any record was judged with the guide. */
export function holdGuide(files: readonly EvalFile[], guide: string): boolean {
  return files.some((file) =>
    file.rows.some(({ value }) => (value as VprefRecord).annotations?.some((entry) => isOfGuide(entry, guide))),
  );
}

/** Every run of the guide over every answer. */
export function readJudged(files: readonly EvalFile[], guide: string, options: EvalOptions): Judged[] {
  return readEntries(files, guide, options).flatMap(({ annotation, ...head }) => {
    if (annotation !== undefined) return judgedResponses(head, annotation, options);
    return [{ ...head, model: options.label ?? '', run: 1, failed: head.record.error!.code }];
  });
}

// A user's copy of a guide may have a version or a prefix: "mm-vet", "mm-vet@2", "mm-vet/2".
export function isOfGuide(entry: Annotation, guide: string): boolean {
  return entry.guide === guide || new RegExp(`^${guide}[@/:]`).test(entry.guide);
}

function judgedResponses(
  head: Pick<Judged, 'id' | 'at' | 'record'>,
  annotation: Annotation,
  options: EvalOptions,
): Judged[] {
  const { record } = head;
  const entry = {
    ...head,
    run: annotation.run,
    annotation,
    ...(annotation.text !== undefined && { text: annotation.text }),
    ...(annotation.outcome !== 'ok' && { failed: annotation.outcome }),
  };
  const verdicts = Array.isArray(annotation.verdict) ? annotation.verdict : [];
  return (record.responses ?? []).flatMap((response, index): Judged[] => {
    const isWanted = options.label === undefined || response.label === options.label;
    const isView = (response.view ?? 'original') === (options.view ?? 'original');
    if (!isWanted || !isView) return [];
    const scores = annotation.scores?.[index];
    const verdict = verdicts[index] ?? undefined;
    // The guide's reference response is not judged itself.
    if (entry.failed === undefined && !isObject(scores) && verdict === undefined) return [];
    return [
      {
        ...entry,
        model: response.label ?? '',
        response,
        ...(entry.failed === undefined && isObject(scores) && { scores }),
        ...(verdict !== undefined && { verdict }),
      },
    ];
  });
}

/** The score by name. Throws RecordError if the guide's reply has none. */
export function scoreOf(judged: { at: Place; scores?: Record<string, number> | undefined }, name: string): number {
  const score = judged.scores?.[name];
  if (typeof score !== 'number')
    throw new RecordError(
      judged.at,
      `annotations[].scores.${name}`,
      'a number',
      score === undefined ? 'nothing' : typeof score,
    );
  return score;
}
