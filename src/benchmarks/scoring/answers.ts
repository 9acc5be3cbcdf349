// SPDX-License-Identifier: Apache-2.0
// Answers out of our records or of the benchmarks' own answer files, and labels out of records.

import { RecordError, UsageError } from '../../records/error.ts';
import { idText } from '../../records/exact.ts';
import { describeValue, isObject, type Place } from '../../records/field.ts';
import type { Response, VprefRecord } from '../../records/record.ts';
import { holdsReasoning, withoutReasoning } from '../../text/reasoning.ts';
import type { EvalFile, FileRow, JsonObject } from './file.ts';
import type { EvalOptions } from './score-row.ts';

/** One answer: a text, or why there is none. */
export interface Answer {
  id: string;
  at: Place;
  /** "" where the file names no model. */
  model: string;
  /** As the row says; undefined where it says nothing. */
  split?: string | undefined;
  text: string;
  /** The model's reasoning stands before its answer, or did: strict mode takes it off. */
  hasReasoning?: boolean;
  /** Why there is no text: the answer is counted and not scored. */
  failed?: string;
  /** Judge run, where a file holds several: each run is joined with the labels by itself. */
  run?: number | string;
  row: JsonObject;
  /** The row is one of our records. */
  record?: VprefRecord;
  response?: Response;
}

/** One question with its truth. */
export interface Label {
  id: string;
  split: string;
  /** Image, for intervals. */
  cluster: string;
  at: Place;
}

const ID_FIELDS = ['question_id', 'questionId', 'index', 'image_id', 'id'];
const TEXT_FIELDS = ['text', 'prediction', 'answer', 'output', 'response', 'caption'];

/** Whether a row is one of our records rather than a row of a benchmark's file. */
export function isRecord(row: JsonObject): boolean {
  return typeof row.id === 'string' && 'prompt' in row && !('question_id' in row) && !('answer_id' in row);
}

/** The answers of all files; in strict mode without what the models thought on their way. */
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

/** The id a row of a benchmark's file goes by, as text. */
export function rowId(value: JsonObject, at: Place): string {
  const field = ID_FIELDS.find((name) => value[name] !== undefined);
  const id = field === undefined ? undefined : value[field];
  if (typeof id === 'number') return idText(value, field!);
  if (typeof id === 'string' && id !== '') return id;
  throw new RecordError(at, field ?? 'question_id', 'an id, a string or a number', describeValue(id));
}

/** What the records say of their own questions: labels without a label file. */
export interface OwnLabel {
  record: VprefRecord;
  id: string;
  /** First image, or the id. */
  cluster: string;
  at: Place;
}

/** A label for each record. Throws UsageError with what is expected where `read` finds none, or a row is no record. */
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

/** What a row says of the part of the benchmark it belongs to. */
function rowSplit(value: JsonObject): string | undefined {
  const meta = isObject(value.meta) ? value.meta : {};
  return [value.split, value.category, value.file, meta.split].find((split) => typeof split === 'string') as
    | string
    | undefined;
}

/** The id a record's question has in its benchmark. */
export function recordId(record: VprefRecord): string {
  const id = record.meta?.question_id;
  if (typeof id === 'number') return idText(record.meta!, 'question_id');
  return typeof id === 'string' ? id : record.id;
}

/** The answers of one record: one for each label among its responses. */
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
      throw new RecordError(at, 'responses', `a response ${options.response}`, `${ofModel.length} responses`);
    if (response.finish_reason === 'error') return { ...answer, model, text: '', failed: 'error', response };
    return { ...answer, model, text: response.text, response };
  });
}

// A record that was only scored (choice_logps) or judged has its say elsewhere.
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

/** The row's model field; absent where the file names none. */
export function modelField(model: string): { model?: string } {
  return model === '' ? {} : { model };
}

/** "file:line", for messages. */
export function place(at: Place): string {
  return `${at.source}:${at.line}`;
}
