// SPDX-License-Identifier: Apache-2.0
// Joins answers with labels by id within each split; lists duplicates, gaps and unknown ids.
import { count } from '../../records/count.ts';

import { RecordError, UsageError } from '../../records/error.ts';
import { type Answer, type Label, place } from './answers.ts';
import type { EvalOptions } from './score-row.ts';

export interface Joined<L extends Label, A extends Answer = Answer> {
  label: L;
  /** Undefined: missing, under --allow-missing. */
  answer: A | undefined;
}

interface Complaints {
  duplicates: string[];
  unknown: string[];
  missing: string[];
}

/**
 * One entry per label, in the labels' order. Throws UsageError that lists duplicates, unknown ids and gaps. With
 * --allow-missing, skips unknown ids and keeps gaps, both with a note.
 */
export function joinAnswers<L extends Label, A extends Answer>(
  labels: readonly L[],
  answers: readonly A[],
  options: EvalOptions,
  notes: string[],
): Joined<L, A>[] {
  const complaints: Complaints = { duplicates: [], unknown: [], missing: [] };
  const splits = new Set(labels.map((label) => label.split));
  const known = new Map<string, L>();
  for (const label of labels) {
    const key = joinKey(label.split, label.id);
    const other = known.get(key);
    if (other !== undefined)
      throw new RecordError(label.at, 'id', 'an id not seen before', `${label.id}, also at ${place(other.at)}`);
    known.set(key, label);
  }
  const found = new Map<string, A>();
  const soleSplit = splits.size === 1 ? [...splits][0] : undefined;
  const splitsOfId = soleSplit === undefined ? splitsById(labels) : undefined;
  let others = 0;
  for (const answer of answers) {
    if (answer.split !== undefined && !splits.has(answer.split) && namesItsFile(answer)) {
      others += 1;
      continue;
    }
    const split = splits.has(answer.split!) ? answer.split! : (soleSplit ?? soleOf(splitsOfId!, answer));
    const key = joinKey(split, answer.id);
    if (!known.has(key)) {
      complaints.unknown.push(`${nameOf(split, answer.id, splits)} (${place(answer.at)})`);
      continue;
    }
    const earlier = found.get(key);
    if (earlier !== undefined && options.duplicates !== 'last') {
      if (options.duplicates === 'error')
        complaints.duplicates.push(`${nameOf(split, answer.id, splits)} (${place(earlier.at)}, ${place(answer.at)})`);
      continue;
    }
    found.set(key, answer);
  }
  for (const label of labels)
    if (!found.has(joinKey(label.split, label.id))) complaints.missing.push(nameOf(label.split, label.id, splits));
  const reasoned = [...found.values()].filter((answer) => answer.hasReasoning === true).length;
  if (reasoned > 0 && options.parse === 'official')
    notes.push(
      `${count(reasoned, 'answer holds', 'answers hold')} reasoning (<think>...), which is scored too, as in the official script (--parse strict removes it)`,
    );
  if (others > 0)
    notes.push(`${count(others, 'answer of other label files is', 'answers of other label files are')} skipped`);
  complain(complaints, answers, options, notes);
  return labels.map((label) => ({ label, answer: found.get(joinKey(label.split, label.id)) }));
}

function joinKey(split: string, id: string): string {
  return `${split}\n${id}`;
}

// A row that names its question's file ("file": "vqa") may be mixed with rows for other files.
function namesItsFile(answer: Answer): boolean {
  return typeof answer.row.file === 'string' && answer.row.file === answer.split;
}

function splitsById(labels: readonly Label[]): Map<string, string[]> {
  const splits = new Map<string, string[]>();
  for (const { id, split } of labels) splits.set(id, [...(splits.get(id) ?? []), split]);
  return splits;
}

function soleOf(splitsOfId: Map<string, string[]>, answer: Answer): string {
  const splits = splitsOfId.get(answer.id) ?? [''];
  if (splits.length === 1) return splits[0]!;
  throw new RecordError(
    answer.at,
    'split',
    `one of ${splits.join(', ')}, since id ${answer.id} is in each of them`,
    answer.split === undefined ? 'nothing' : JSON.stringify(answer.split),
  );
}

function nameOf(split: string, id: string, splits: Set<string>): string {
  return splits.size > 1 && split !== '' ? `${split}/${id}` : id;
}

function complain(
  { duplicates, unknown, missing }: Complaints,
  answers: readonly Answer[],
  options: EvalOptions,
  notes: string[],
): void {
  const source = [...new Set(answers.map((answer) => answer.at.source))].join(', ') || 'answers';
  const fatal = [list(duplicates, 'duplicate id', 'duplicate ids')];
  const forgiven = [list(missing, 'missing id', 'missing ids'), list(unknown, 'unknown id', 'unknown ids')].filter(
    Boolean,
  );
  const all = [...fatal, ...(options.allowMissing ? [] : forgiven)].filter(Boolean);
  if (all.length > 0) {
    const hints = [
      duplicates.length > 0 && '--duplicates first|last takes one of them',
      missing.length + unknown.length > 0 && !options.allowMissing && '--allow-missing scores what is in both',
    ].filter(Boolean);
    throw new UsageError(`${source}: expected one answer for each label: ${all.join('; ')} (${hints.join('; ')})`);
  }
  for (const text of forgiven) notes.push(`${text}: left out`);
}

const MAX_LISTED = 20;

/** `3 missing ids: a, b, c`; undefined for none. */
export function list(values: readonly string[], one: string, many: string): string | undefined {
  if (values.length === 0) return undefined;
  const more = values.length > MAX_LISTED ? ` and ${values.length - MAX_LISTED} more` : '';
  return `${count(values.length, one, many)}: ${values.slice(0, MAX_LISTED).join(', ')}${more}`;
}

/** Counts of answered, failed and missing questions, in every score row. */
export function countStates(joined: readonly Joined<Label>[]): { failed: number; missing?: number } {
  const failed = joined.filter(({ answer }) => answer?.failed !== undefined).length;
  const missing = joined.filter(({ answer }) => answer === undefined).length;
  return { failed, ...(missing > 0 && { missing }) };
}

/** A kind of questions without any answer was not asked: its labels are skipped with a note. */
export function withoutUnasked<L extends Label>(
  labels: L[],
  answers: readonly Answer[],
  kindOf: (label: L) => string,
  notes: string[],
): L[] {
  const answered = new Set(answers.map((answer) => answer.id));
  const kinds = new Map<string, { number: number; isAsked: boolean }>();
  for (const label of labels) {
    const { number = 0, isAsked = false } = kinds.get(kindOf(label)) ?? {};
    kinds.set(kindOf(label), { number: number + 1, isAsked: isAsked || answered.has(label.id) });
  }
  const unasked = [...kinds].filter(([, { isAsked }]) => !isAsked);
  if (unasked.length === kinds.size) return labels;
  for (const [kind, { number }] of unasked)
    notes.push(`no answer to any of the ${count(number, `${kind} question`)}: "all" excludes them`);
  return labels.filter((label) => kinds.get(kindOf(label))!.isAsked);
}
