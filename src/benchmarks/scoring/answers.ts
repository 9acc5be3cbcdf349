// SPDX-License-Identifier: Apache-2.0
// Answers from records or from the benchmarks' answer files, and labels from records.
import { count } from '../../records/count.ts';

import { RecordError, UsageError } from '../../records/error.ts';
import { idText } from '../../records/exact.ts';
import { describeValue, isObject, type Place } from '../../records/field.ts';
import type { Response, VprefRecord } from '../../records/record.ts';
import { holdsReasoning, withoutReasoning } from '../../text/reasoning.ts';
import type { EvalFile, FileRow, JsonObject } from './file.ts';
import type { EvalOptions } from './score-row.ts';

/** One answer: a text, or the reason for none. */
export interface Answer {
  id: string;
  at: Place;
  /** "" if the file names no model. */
  model: string;
  /** The row's split; undefined if it has none. */
  split?: string | undefined;
  text: string;
  /** Whether the text began with the model's reasoning, which strict mode removes. */
  hasReasoning?: boolean;
  /** The reason for a missing text: the answer is counted and not scored. */
  failed?: string;
  /** Judge run, if a file holds several: each run is joined with the labels separately. */
  run?: number | string;
  row: JsonObject;
  /** Whether the row is a vpref record. */
  record?: VprefRecord;
  response?: Response;
}

/** One question with its label. */
export interface Label {
  id: string;
  split: string;
  /** The image, which clusters intervals. */
  cluster: string;
  at: Place;
}

const ID_FIELDS = ['question_id', 'questionId', 'index', 'image_id', 'id'];
const TEXT_FIELDS = ['text', 'prediction', 'answer', 'output', 'response', 'caption'];

/** Whether a row is a vpref record, as opposed to a row of a benchmark's file. */
export function isRecord(row: JsonObject): boolean {
  return typeof row.id === 'string' && 'prompt' in row && !('question_id' in row) && !('answer_id' in row);
}

/** The answers of all files; strict mode removes reasoning. */
export function readAnswers(files: readonly EvalFile[], options: EvalOptions): Answer[] {
  return answersOf(files, options).map((answer) => {
    if (!holdsReasoning(answer.text)) return answer;
    const text = options.parse === 'strict' ? withoutReasoning(answer.text) : answer.text;
    return { ...answer, text, hasReasoning: true };
  });
}

/** An object file of plain texts is id -> text, as MM-Vet's and SHR's. */
function answersOf(files: readonly EvalFile[], options: EvalOptions): Answer[] {
  return files.flatMap((file) => {
    if (file.object !== undefined && isTextMap(file.object))
      return Object.entries(file.object).map(([id, text], index): Answer => {
        const at = { source: file.path, line: index + 1 };
        return { id, at, model: '', text: text as string, row: {} };
      });
    return file.rows.flatMap((row) => (isRecord(row.value) ? recordAnswers(row, options) : [fileAnswer(row)]));
  });
}

function isTextMap(object: JsonObject): boolean {
  const values = Object.values(object);
  const hasId = ID_FIELDS.some((field) => field in object);
  return !hasId && values.length > 0 && values.every((value) => typeof value === 'string');
}

function fileAnswer({ value, at }: FileRow): Answer {
  const id = rowId(value, at);
  const model = typeof value.model_id === 'string' ? value.model_id : '';
  const textField = TEXT_FIELDS.find((field) => value[field] !== undefined);
  const text = textField === undefined ? undefined : value[textField];
  const answer = { id, at, model, split: rowSplit(value), row: value };
  if (text === null) return { ...answer, text: '', failed: 'null' };
  if (typeof text !== 'string')
    throw new RecordError(at, textField ?? 'text', 'the answer, a string', describeValue(text));
  return { ...answer, text };
}

/** The id of a row of a benchmark's file, as text. */
export function rowId(value: JsonObject, at: Place): string {
  const field = ID_FIELDS.find((name) => value[name] !== undefined);
  const id = field === undefined ? undefined : value[field];
  if (typeof id === 'number') return idText(value, field!);
  if (typeof id === 'string' && id !== '') return id;
  throw new RecordError(at, field ?? 'question_id', 'an id, a string or a number', describeValue(id));
}

/** Labels from the records, without a label file. */
export interface OwnLabel {
  record: VprefRecord;
  id: string;
  /** First image, or the id. */
  cluster: string;
  at: Place;
}

/** One label per record. Throws UsageError if `read` finds none, or a row is not a record. */
export function labelsOfRecords<L extends Label>(
  files: readonly EvalFile[],
  expected: string,
  read: (own: OwnLabel) => L | undefined,
): L[] {
  return files.flatMap((file) =>
    file.rows.map(({ value, at }) => {
      const record = value as VprefRecord;
      const id = isRecord(value) ? recordId(record) : '';
      const label = isRecord(value) ? read({ record, id, cluster: record.images?.[0] ?? id, at }) : undefined;
      if (label === undefined) throw new UsageError(`${place(at)}: expected ${expected}`);
      return label;
    }),
  );
}

/** The row's split of the benchmark. */
function rowSplit(value: JsonObject): string | undefined {
  const meta = isObject(value.meta) ? value.meta : {};
  return [value.split, value.category, value.file, meta.split].find((split) => typeof split === 'string') as
    | string
    | undefined;
}

/** The benchmark's id of a record's question. */
export function recordId(record: VprefRecord): string {
  const id = record.meta?.question_id;
  if (typeof id === 'number') return idText(record.meta!, 'question_id');
  return typeof id === 'string' ? id : record.id;
}

/** The answers of one record: one per label of its responses. */
function recordAnswers({ value, at }: FileRow, options: EvalOptions): Answer[] {
  const record = value as VprefRecord;
  const answer = { id: recordId(record), at, split: rowSplit(value), row: value, record };
  if (record.error !== undefined)
    return [{ ...answer, model: options.label ?? '', text: '', failed: record.error.code }];
  const responses = (record.responses ?? []).filter(
    (response) =>
      (options.label === undefined || response.label === options.label) &&
      (response.view ?? 'original') === (options.view ?? 'original'),
  );
  const byLabel = new Map<string, Response[]>();
  for (const response of responses)
    byLabel.set(response.label ?? '', [...(byLabel.get(response.label ?? '') ?? []), response]);
  if (byLabel.size === 0) return noResponse(answer, options);
  return [...byLabel].map(([model, ofModel]) => {
    const response = ofModel[options.response ?? 0];
    if (ofModel.length > 1 && options.response === undefined)
      throw new RecordError(at, 'responses', 'one response to score (--response N picks one)', `${ofModel.length}`);
    if (response === undefined)
      throw new RecordError(at, 'responses', `a response ${options.response}`, count(ofModel.length, 'response'));
    if (response.finish_reason === 'error') return { ...answer, model, text: '', failed: 'error', response };
    return { ...answer, model, text: response.text, response };
  });
}

// A record that was only scored (choice_logps) or judged is read elsewhere.
function noResponse(answer: Omit<Answer, 'model' | 'text'>, options: EvalOptions): Answer[] {
  const { record } = answer;
  if (record?.choice_logps !== undefined) return [{ ...answer, model: options.label ?? '', text: '' }];
  const wanted = [
    options.label !== undefined && `label ${JSON.stringify(options.label)}`,
    `view ${JSON.stringify(options.view ?? 'original')}`,
  ].filter(Boolean);
  const got = record?.responses === undefined ? 'nothing' : `${record.responses.length} others`;
  throw new RecordError(answer.at, 'responses', `a response with ${wanted.join(' and ')}`, got);
}

/** Answers by model, in order of first appearance. */
export function answersByModel<A extends Answer>(answers: readonly A[]): Map<string, A[]> {
  const models = new Map<string, A[]>();
  for (const answer of answers) {
    const ofModel = models.get(answer.model);
    if (ofModel === undefined) models.set(answer.model, [answer]);
    else ofModel.push(answer);
  }
  return models;
}

/** The row's model field; absent if the file names none. */
export function modelField(model: string): { model?: string } {
  return model === '' ? {} : { model };
}

/** "file:line", for messages. */
export function place(at: Place): string {
  return `${at.source}:${at.line}`;
}
