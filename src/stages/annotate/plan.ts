// SPDX-License-Identifier: Apache-2.0
// Plans one judge run over a record: its questions, and the order in which responses are shown.

import type { Row } from '../../flow/stage.ts';
import { count } from '../../records/count.ts';
import { generatedSpans, type SpokenTurn, spokenTurns, transcript } from '../../records/dialogue.ts';
import { RecordError } from '../../records/error.ts';
import { countImageMarks, placeImages } from '../../records/prompt.ts';
import { randomStream } from '../../records/random.ts';
import type { Guide } from './guide.ts';
import { plainLetter } from './replies/choice.ts';
import { shrSentences } from './replies/judgement.ts';
import type { Reading, ReplyContext } from './replies/reading.ts';

/** One question to the judge, before templates and images. */
export interface PlannedCall {
  /** Index of the response, if the question is about one. */
  response?: number;
  /** 1-based turn, for guides that judge turn by turn. */
  turn?: number;
  /** order[k] = index of the response at position k. */
  order: number[];
  /** Variables of the guide's templates. */
  variables: Record<string, unknown>;
  /** The text refers to images by number. */
  numberImages: boolean;
  answers: { label: string; text: string; response: number }[];
  context: ReplyContext;
  /** This question splits the response into claims. */
  isSplit?: boolean;
  /** The reply, if it is known without a call. */
  known?: Reading;
}

/** A run's calls, and the order for its entry. */
export interface Plan {
  order?: number[];
  calls: PlannedCall[];
}

/** Inputs of a plan besides record and guide. */
export interface PlanOptions {
  seed: number;
  run: number;
  /** Show responses in a random order (the entry restores it), or in the record's order. */
  shuffle: boolean;
}

/** Plans one run. Throws RecordError if the record lacks a field that the guide needs. */
export function planRun(row: Row, guide: Guide, options: PlanOptions): Plan {
  const item = readItem(row, guide);
  if (guide.show === 'all') return planAll(item, guide, options);
  if (guide.show === 'each') return { calls: planEach(item, guide) };
  return planPair(item, guide, options);
}

/** A record as guides see it. */
interface JudgedRecord {
  row: Row;
  /** Spans of the prompt: up to the first open turn, from there to the second, ...; one span per generated turn. */
  spans: SpokenTurn[][];
  numberImages: boolean;
  system: string;
  /** texts[i][t]: the text of response i in turn t. The reference is last, if a pair guide compares with it. */
  texts: string[][];
  references: string[];
  letters: string[];
}

function readItem(row: Row, guide: Guide): JudgedRecord {
  const { record } = row;
  const fail = (field: string, expected: string, got: string): never => {
    throw new RecordError(row, field, expected, got);
  };
  for (const need of guide.needs) {
    if (record[need] === undefined) fail(need, `what guide ${guide.name} needs`, 'nothing');
  }
  const numImages = record.images?.length ?? 0;
  const numMarks = countImageMarks(record.prompt);
  // A text guide shows no image, so marks stay text.
  if (guide.images && numMarks > 0 && numMarks !== numImages)
    fail('images', `one for each <image> of the prompt (${numMarks})`, String(numImages));
  const { turns, hasMarks } = spokenTurns(placeImages(record.prompt, numImages));
  const spans = generatedSpans(turns, (turn) => turn === null) as SpokenTurn[][];
  const texts = (record.responses ?? []).map((_, index) => responseTurns(row, index, spans.length));
  if (texts.length === 0) fail('responses', 'at least one response to judge', 'none');
  if (texts.length > MAX_RESPONSES) fail('responses', `at most ${MAX_RESPONSES} responses`, String(texts.length));
  return {
    row,
    spans,
    numberImages: hasMarks,
    system: spans
      .flat()
      .filter((turn) => turn.role === 'system')
      .map((turn) => turn.content)
      .join('\n'),
    texts,
    references: asList(record.reference),
    letters: (record.choices ?? []).map((_, index) => label(index)),
  };
}

const MAX_RESPONSES = 26;

function label(place: number): string {
  return String.fromCharCode(65 + place);
}

function asList(value: string | string[] | undefined): string[] {
  if (value === undefined) return [];
  return Array.isArray(value) ? value : [value];
}

/** The texts of response `index` by turn: generated middle turns, then its text. */
function responseTurns(row: Row, index: number, numTurns: number): string[] {
  const { text, turns = [] } = row.record.responses![index]!;
  const middle = turns.slice(0, numTurns - 1);
  if (middle.length === numTurns - 1) return [...middle, text];
  const expected = `${count(numTurns - 1, 'earlier answer')}, one per open turn of the prompt before the last`;
  throw new RecordError(row, `responses[${index}].turns`, expected, String(turns.length));
}

function planAll(item: JudgedRecord, guide: Guide, options: PlanOptions): Plan {
  const order = drawOrder(item, item.texts.length, options);
  return { order, calls: [plannedCall(item, guide, order)] };
}

function planEach(item: JudgedRecord, guide: Guide): PlannedCall[] {
  const anchor = anchorIndex(item, guide);
  const calls: PlannedCall[] = [];
  for (const [response, turns] of item.texts.entries()) {
    if (response === anchor) continue;
    const numTurns = guide.perTurn ? turns.length : 1;
    for (let turn = 1; turn <= numTurns; turn += 1) {
      const call = plannedCall(item, guide, [response], guide.perTurn ? turn : undefined, anchor);
      const about = { ...call, response, ...knownReading(item, guide, response) };
      calls.push(...(guide.reply === 'probability' ? eachMetric(about, guide) : [about]));
    }
  }
  return calls;
}

/** One question per metric, because a reply has only one score. */
function eachMetric(call: PlannedCall, { scores, replies }: Guide): PlannedCall[] {
  return scores.map((metric) => ({
    ...call,
    variables: { ...call.variables, metric },
    context: { ...call.context, scores: [metric], replies },
  }));
}

/** Index of the response that the others are compared with; -1 if the guide has none. */
function anchorIndex(item: JudgedRecord, guide: Guide): number {
  if (guide.anchor === undefined) return -1;
  if (item.texts.length < 2) {
    throw new RecordError(item.row, 'responses', `two or more (guide ${guide.name} compares with one of them)`, '1');
  }
  const labelled = item.row.record.responses!.findIndex((response) => response.label === guide.anchor);
  return Math.max(0, labelled);
}

function knownReading(item: JudgedRecord, guide: Guide, response: number): { known?: Reading } {
  const text = item.texts[response]!.at(-1)!;
  const letter = guide.skip === 'letter' ? plainLetter(text, item.letters) : undefined;
  return letter === undefined ? {} : { known: { verdicts: [{ choice: letter, judged: false }] } };
}

function planPair(item: JudgedRecord, guide: Guide, options: PlanOptions): Plan {
  // With a single response, the other side is the record's reference; its index is responses.length.
  if (item.texts.length === 1 && item.references.length > 0) item.texts.push(referenceTurns(item));
  if (item.texts.length !== 2) {
    throw new RecordError(item.row, 'responses', 'two (or one and a reference) to compare', String(item.texts.length));
  }
  const orders =
    guide.games === 2
      ? [
          [0, 1],
          [1, 0],
        ]
      : [drawOrder(item, 2, options)];
  const numTurns = guide.perTurn ? Math.min(...item.texts.map((turns) => turns.length)) : 1;
  const calls: PlannedCall[] = [];
  for (let turn = 1; turn <= numTurns; turn += 1) {
    for (const order of orders) {
      const call = plannedCall(item, guide, order, guide.perTurn ? turn : undefined);
      calls.push(guide.games === 1 && areEqual(item) ? { ...call, known: { winner: null } } : call);
    }
  }
  return guide.games === 1 ? { order: orders[0]!, calls } : { calls };
}

function referenceTurns(item: JudgedRecord): string[] {
  const numTurns = item.texts[0]!.length;
  return item.references.length === numTurns ? item.references : [item.references[0]!];
}

function areEqual(item: JudgedRecord): boolean {
  return item.texts[0]!.join('\n') === item.texts[1]!.join('\n');
}

/** A permutation from (seed, record id, run), so splitting the file does not change it. */
function drawOrder(item: JudgedRecord, size: number, options: PlanOptions): number[] {
  const order = Array.from({ length: size }, (_, index) => index);
  if (!options.shuffle) return order;
  const random = randomStream(options.seed, item.row.record.id, 'annotate-order', String(options.run));
  for (let last = size - 1; last > 0; last -= 1) {
    const other = random.nextInt(last + 1);
    [order[last], order[other]] = [order[other]!, order[last]!];
  }
  return order;
}

function plannedCall(item: JudgedRecord, guide: Guide, order: number[], turn?: number, anchor = -1): PlannedCall {
  const { record } = item.row;
  const numTurns = turn ?? Number.POSITIVE_INFINITY;
  const shown = order.map((response, place) => {
    const turns = item.texts[response]!.slice(0, numTurns);
    return { label: label(place), text: turns.at(-1) ?? '', turns, response };
  });
  const isAlone = shown.length === 1;
  const sentences = guide.reply === 'judgement' ? shrSentences(shown[0]!.text) : [];
  const spans = item.spans.slice(0, numTurns);
  const conversation = spans.flatMap((span, index) => {
    if (index === 0) return span;
    const own = isAlone ? shown[0]!.turns[index - 1]! : `(each answer's own: turn ${index} of it)`;
    return [{ role: 'assistant' as const, content: own }, ...span];
  });
  return {
    ...(turn === undefined ? {} : { turn }),
    order,
    answers: shown.map(({ label, text, response }) => ({ label, text, response })),
    numberImages: item.numberImages,
    variables: {
      question: transcript(turn === undefined ? conversation : (spans.at(-1) ?? [])),
      conversation,
      turns: spans.map(transcript),
      turn: turn ?? 1,
      system: item.system,
      answers: isAlone || turn !== undefined ? shown : shown.map((one) => ({ ...one, text: allTurns(one) })),
      answer: shown[0]!.text,
      anchor: anchor >= 0 ? item.texts[anchor]!.at(-1) : undefined,
      reference: item.references.join('\n'),
      references: item.references.slice(0, numTurns),
      choices: (record.choices ?? []).map((text, index) => ({ label: label(index), text })),
      context: record.context,
      context_text: contextText(record.context),
      sentences,
      category: record.meta?.category,
      meta: record.meta ?? {},
    },
    context: {
      labels: shown.map((one) => one.label),
      scores: guide.scores,
      comment: guide.comment,
      ownResponse: guide.ownResponse,
      letters: item.letters,
      sentences,
    },
  };
}

/** Multi-turn responses are shown one after the other, because their earlier turns differ. */
function allTurns({ turns, text }: { turns: string[]; text: string }): string {
  return turns.length <= 1 ? text : turns.map((said, index) => `Turn ${index + 1}: ${said}`).join('\n\n');
}

/** Captions as lines; other values as JSON. */
function contextText(context: unknown): string {
  if (context === undefined || context === null) return '';
  if (typeof context === 'string') return context;
  const isLines = Array.isArray(context) && context.every((line) => typeof line === 'string');
  return isLines ? context.join('\n') : JSON.stringify(context, null, 1);
}
