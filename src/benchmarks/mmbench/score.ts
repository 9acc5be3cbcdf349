// SPDX-License-Identifier: Apache-2.0
// MMBench, English and Chinese: a question counts if every rotation of its options is right. Source:
// open-compass/VLMEvalKit matching_util.py and multiple_choice.py with exact matching, the LLaVA-1.5 protocol.

import { isPandasMissing } from '../../python/pandas.ts';
import { PYTHON_SPACE, pythonLength, pythonSplit } from '../../python/text.ts';
import { RecordError } from '../../records/error.ts';
import { describeValue, isObject } from '../../records/field.ts';
import { type Answer, type Label, labelsOfRecords, type OwnLabel, readAnswers } from '../scoring/answers.ts';
import { LETTERS, likeliestLetter, strictLetter } from '../scoring/choice.ts';
import type { EvalFile } from '../scoring/file.ts';
import { countStates, type Joined } from '../scoring/join.ts';
import { isOfGuide } from '../scoring/judged.ts';
import { accuracy, groupBy, type Marked } from '../scoring/score-row.ts';
import { benchmarkScorer, failedAnswers } from '../scoring/scorer.ts';

export interface MMBenchLabel extends Label {
  answer: string;
  /** Letter -> option; letters may be missing. */
  options: Map<string, string>;
  /** index modulo a million, common to the rotations of a question. */
  group: string;
  isBase: boolean;
  category: string;
  ability: string;
}

const ROTATION = 1_000_000;

/** Short names of the six abilities (l2-category). */
const ABILITIES: Record<string, string> = {
  coarse_perception: 'CP',
  'finegrained_perception (instance-level)': 'FP-S',
  'finegrained_perception (cross-instance)': 'FP-C',
  attribute_reasoning: 'AR',
  logic_reasoning: 'LR',
  relation_reasoning: 'RR',
};

const REFUSALS = [
  "Sorry, I can't help with images of people yet.",
  "I can't process this file.",
  "I'm sorry, but without the image provided",
  'Cannot determine the answer',
];
const API_FAILURE = 'Failed to obtain answer via API';
// Any case, no word boundary after the letter: "the answer is a cat" is option A. Python's \s, not JavaScript's.
const ANSWER_IS = new RegExp(`answer[${PYTHON_SPACE}]+is[${PYTHON_SPACE}]+\\**([A-D])`, 'iu');

/**
 * The official extraction without a judge: a letter, "Z" (no choice), or undefined (the answer then counts as wrong).
 *   options: letter -> text.
 */
export function parseMMBenchOfficial(text: string, options: ReadonlyMap<string, string>): string | undefined {
  return officialLetter(text, options) ?? officialText(text, options);
}

function officialLetter(text: string, options: ReadonlyMap<string, string>): string | undefined {
  if (text.includes(API_FAILURE)) return undefined;
  if (REFUSALS.some((refusal) => text.includes(refusal))) return 'Z';
  const words = pythonSplit(text.replace(/[.()[\],:;!*#{}]/g, ' '));
  const said = [...options.keys()].filter((letter) => words.includes(letter));
  if (said.length === 1 && words.indexOf(said[0]!) > words.length - 5) return said[0];
  if (said.length === 0 && words.includes('Z')) return 'Z';
  const stated = ANSWER_IS.exec(text)?.[1]?.toUpperCase();
  return stated !== undefined && options.has(stated) ? stated : undefined;
}

function officialText(text: string, options: ReadonlyMap<string, string>): string | undefined {
  const lower = text.toLowerCase();
  const length = [...options.values()].reduce((sum, option) => sum + pythonLength(option), 0);
  if (pythonLength(lower) > 2 * length) return undefined;
  const said = [...options].filter(([, option]) => lower.includes(option.toLowerCase()));
  return said.length === 1 ? said[0]![0] : undefined;
}

/** Scores answers to MMBench's table; `score` is the circular accuracy. */
export const scoreMMBench = benchmarkScorer<MMBenchLabel, Answer, MMBenchQuestion>({
  benchmark: 'mmbench',
  read: ({ answers, labels, options }) => ({
    answers: readAnswers(answers, options),
    labels:
      labels.length > 0
        ? readMMBenchLabels(labels)
        : labelsOfRecords(answers, '--labels FILE.tsv, or records that carry "reference" and "choices"', recordLabel),
  }),
  mark: (joined, { options }) =>
    [...groupBy(joined, ({ label }) => label.group).values()].map((rotations) =>
      markQuestion(rotations, options.parse),
    ),
  parts: (questions) =>
    (['ability', 'category'] as const).flatMap((key) =>
      [...groupBy(questions, ({ label }) => label[key])].filter(([name]) => name !== ''),
    ),
  figures(part, { split }) {
    const rotations = part.flatMap((question) => question.rotations);
    const { n, score, correct, ci95, clusters } = accuracy(part.flatMap(({ circular }) => circular ?? []));
    return {
      n,
      score,
      correct,
      ...(ABILITIES[split] !== undefined && { ability: ABILITIES[split] }),
      plain: accuracy(part.flatMap(({ base }) => base ?? [])).score,
      rotations: rotations.length,
      rotation_accuracy: accuracy(rotations).score,
      ci95,
      clusters,
      unparsed: rotations.filter((mark) => mark.unparsed).length,
      ...countStates(part.flatMap((question) => question.joined)),
    };
  },
  failed: (questions) => failedAnswers(questions.flatMap(({ joined }) => joined)),
  items: (questions) =>
    questions.flatMap(({ label, circular }) => {
      if (circular === undefined) return [];
      return [{ split: label.ability, id: label.group, cluster: label.group, value: +circular.correct }];
    }),
});

// The official scorer sees a missing answer as an empty cell, so wrong; strict mode skips the question.
type MMBenchQuestion = ReturnType<typeof markQuestion>;

function markQuestion(joined: Joined<MMBenchLabel>[], parse: 'official' | 'strict') {
  const label = joined.find(({ label }) => label.isBase)?.label ?? joined[0]!.label;
  const marks = joined.map(({ label, answer }): Marked | undefined => {
    if (answer === undefined) return parse === 'official' ? { cluster: label.group, correct: false } : undefined;
    if (answer.failed !== undefined) return undefined;
    const ranked = answer.record !== undefined && answer.response === undefined ? likeliestLetter(answer) : undefined;
    const letter = ranked ?? readLetter(answer.text, label.options, parse) ?? judgedLetter(answer);
    return { cluster: label.group, correct: letter === label.answer, unparsed: letter === undefined };
  });
  const rotations = marks.flatMap((mark) => mark ?? []);
  const isWhole = rotations.length === joined.length;
  const circular = isWhole ? { cluster: label.group, correct: rotations.every((mark) => mark.correct) } : undefined;
  return { label, joined, rotations, circular, base: marks[joined.findIndex(({ label }) => label.isBase)] };
}

// As in VLMEvalKit, a judge reads answers that the rules cannot parse. Guide mmbench-extract.
function judgedLetter({ record, response }: Answer): string | undefined {
  const place = response === undefined ? -1 : (record?.responses?.indexOf(response) ?? -1);
  const entries = record?.annotations?.filter((entry) => isOfGuide(entry, 'mmbench-extract') && entry.outcome === 'ok');
  const verdicts = entries?.at(-1)?.verdict;
  const verdict = Array.isArray(verdicts) ? verdicts[place] : undefined;
  return isObject(verdict) && typeof verdict.choice === 'string' ? verdict.choice : undefined;
}

function readLetter(text: string, options: ReadonlyMap<string, string>, parse: 'official' | 'strict') {
  if (parse === 'official') return parseMMBenchOfficial(text, options);
  const letters = [...options.keys()];
  const place = strictLetter(text, [...options.values()]);
  return place === undefined ? undefined : letters[LETTERS.indexOf(place)];
}

/** The rows of the official tables. An option that pandas reads as missing is absent. */
function readMMBenchLabels(files: readonly EvalFile[]): MMBenchLabel[] {
  return files.flatMap((file) =>
    file.rows.map(({ value, at }) => {
      const index = Number(value.index);
      if (value.index === '' || !Number.isInteger(index))
        throw new RecordError(at, 'index', 'an integer', describeValue(value.index));
      const options = new Map(
        LETTERS.filter((letter) => typeof value[letter] === 'string' && !isPandasMissing(value[letter])).map(
          (letter) => [letter, String(value[letter])],
        ),
      );
      const answer = String(value.answer ?? '').trim();
      if (!options.has(answer))
        throw new RecordError(at, 'answer', `one of ${[...options.keys()].join(', ')}`, describeValue(value.answer));
      const group = String(index % ROTATION);
      return {
        id: String(index),
        split: '',
        cluster: group,
        at,
        answer,
        options,
        group,
        isBase: index < ROTATION,
        category: String(value.category ?? ''),
        ability: String(value['l2-category'] ?? ''),
      };
    }),
  );
}

function recordLabel({ record: { reference, choices, meta }, id, at }: OwnLabel): MMBenchLabel | undefined {
  if (typeof reference !== 'string' || choices === undefined) return undefined;
  const index = Number(id);
  const group = String(index % ROTATION);
  return {
    id,
    split: '',
    cluster: group,
    at,
    answer: reference,
    options: new Map(choices.map((choice, k) => [LETTERS[k]!, choice])),
    group,
    isBase: index < ROTATION,
    category: String(meta?.category ?? ''),
    ability: String(meta?.['l2-category'] ?? ''),
  };
}
