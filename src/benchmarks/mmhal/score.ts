// SPDX-License-Identifier: Apache-2.0
// MMHal-Bench: a judge's rating from 0 to 6, below 3 a hallucination. Source: LLaVA-RLHF's MMHal-Bench-eval/eval_gpt4.py,
// RLAIF-V eval/summarize_gpt_mmhal_review.py (informativeness).

import { RecordError } from '../../records/error.ts';
import { describeValue, isObject, type Place } from '../../records/field.ts';
import { withoutReasoning } from '../../text/reasoning.ts';
import type { Answer, Label } from '../scoring/answers.ts';
import type { EvalFile, JsonObject } from '../scoring/file.ts';
import type { Joined } from '../scoring/join.ts';
import { holdRecords, readJudged, scoreOf } from '../scoring/judged.ts';
import { type EvalOptions, finite, groupBy } from '../scoring/score-row.ts';
import { benchmarkScorer } from '../scoring/scorer.ts';
import { clusteredInterval, meanOf } from '../scoring/statistics.ts';

// The 96 questions cycle through these.
const TYPES = ['attribute', 'adversarial', 'comparison', 'counting', 'relation', 'environment', 'holistic', 'other'];
const LEAST_TRUE = 3;

interface Rated extends Answer {
  /** Undefined: the judge call failed. */
  rating: number | undefined;
  /** The reply had no rating, or several: the script counts 0. */
  isUnparsed: boolean;
  type: string;
  image: string;
}

interface TypeLabel extends Label {
  type: string;
}

/** The only rating in the form "rating: N"; undefined for none or several. */
export function parseRatingOfficial(reply: string): number | undefined {
  const lower = reply.toLowerCase();
  const found = [0, 1, 2, 3, 4, 5, 6].filter((rating) => lower.includes(`rating: ${rating}`));
  return found.length === 1 ? found[0] : undefined;
}

/** The same without Markdown; a number with more digits ("rating: 4.5", "rating: 10") is not a rating. */
export function parseRatingStrict(reply: string): number | undefined {
  const said = withoutReasoning(reply).replace(/[*_`#]/g, '');
  const found = [...said.matchAll(/\brating\s*(?::|is|=)\s*(\d+(?:\.\d+)?)/gi)].map((match) => Number(match[1]));
  const [rating = Number.NaN] = found;
  return new Set(found).size === 1 && Number.isInteger(rating) && rating <= 6 ? rating : undefined;
}

/** Scores the judge's replies, merged or not, or records judged with guide mmhal. */
export const scoreMMHal = benchmarkScorer<TypeLabel, Rated, Joined<TypeLabel, Rated>>({
  benchmark: 'mmhal',
  read({ answers: files, labels, options }) {
    const answers = holdRecords(files)
      ? ratedRecords(files, options)
      : files.flatMap((file) => reviews(file, files, options));
    return { answers, labels: labels.length > 0 ? templateLabels(labels) : ownLabels(answers) };
  },
  mark: (joined) => joined,
  parts: (questions) => groupBy(questions, ({ label }) => label.type),
  figures(part, { input, split }) {
    const rated = part.flatMap(({ label, answer }) => {
      const rating = answer === undefined ? undefined : ratingOf(answer, input.options);
      return rating === undefined ? [] : [{ cluster: label.cluster, rating }];
    });
    const ratings = rated.map(({ rating }) => rating);
    const missing = part.filter(({ answer }) => answer === undefined).length;
    return {
      n: rated.length,
      score: finite(meanOf(ratings)),
      hallucination_rate: finite(meanOf(ratings.map((rating) => +(rating < LEAST_TRUE)))),
      informativeness: finite(
        (100 * meanOf(ratings.map((rating) => (rating < LEAST_TRUE ? rating : rating - LEAST_TRUE)))) / 3,
      ),
      ...clusteredInterval(
        rated.map(({ cluster, rating }) => ({ cluster, sums: [rating, 1] })),
        ([sum, count]) => sum! / count!,
        [0, 6],
      ),
      unparsed: part.filter(({ answer }) => answer?.isUnparsed).length,
      failed: part.length - missing - rated.length,
      ...(missing > 0 && split === 'all' && { missing }),
    };
  },
  failed: (questions) => questions.filter(({ answer }) => answer !== undefined && answer.rating === undefined).length,
  items: (questions) =>
    questions.flatMap(({ label, answer }) => {
      if (answer?.rating === undefined) return [];
      return [{ split: label.type, id: label.id, cluster: label.cluster, value: answer.rating }];
    }),
  officialFailure: '0, a hallucination',
});

function ratingOf({ rating }: Rated, { includeFailed }: EvalOptions): number | undefined {
  return rating ?? (includeFailed ? 0 : undefined);
}

function ratedRecords(files: readonly EvalFile[], options: EvalOptions): Rated[] {
  return readJudged(files, 'mmhal', options).map((judged) => {
    const { id, at, model, run, failed, record } = judged;
    const rating = failed === undefined ? scoreOf(judged, 'rating') : undefined;
    if (rating !== undefined && !(Number.isInteger(rating) && rating >= 0 && rating <= 6))
      throw new RecordError(at, 'annotations[].scores.rating', 'an integer from 0 to 6', String(rating));
    return {
      ...{ id, at, model, run, text: '', row: {}, rating },
      isUnparsed: false,
      type: String(record.meta?.question_type ?? typeOf(id)),
      image: record.images?.[0] ?? id,
    };
  });
}

/** The replies in the order of the questions: saved API replies, or merged into the questions as gpt4_review. */
function reviews(file: EvalFile, files: readonly EvalFile[], options: EvalOptions): Rated[] {
  return file.rows.map(({ value, at }, position) => {
    const id = String(position);
    const reply = replyOf(value, at);
    const read = options.parse === 'official' ? parseRatingOfficial : parseRatingStrict;
    const isReply = reply !== undefined && reply.trim() !== '';
    const rating = isReply ? read(reply) : undefined;
    // The script counts a reply without rating as 0; a call without reply is a failed call.
    const isUnparsed = isReply && rating === undefined && options.parse === 'official';
    return {
      ...{ id, at, model: files.length > 1 ? file.stem : '', text: '', row: {} },
      rating: isUnparsed ? 0 : rating,
      isUnparsed,
      type: typeof value.question_type === 'string' ? value.question_type : typeOf(id),
      image: typeof value.image_src === 'string' ? value.image_src : id,
    };
  });
}

/** The judge's text; undefined if the call gave none. */
function replyOf(value: JsonObject, at: Place): string | undefined {
  if ('gpt4_review' in value) return textOrNothing(value.gpt4_review, at, 'gpt4_review');
  const { choices } = value;
  const choice = Array.isArray(choices) ? choices[0] : undefined;
  const message = isObject(choice) ? choice.message : undefined;
  if (isObject(message)) return textOrNothing(message.content, at, 'choices[0].message.content');
  if (isObject(value.error)) return undefined;
  throw new RecordError(at, 'choices', "the judge's reply (choices, or gpt4_review)", describeValue(choices));
}

function textOrNothing(value: unknown, at: Place, field: string): string | undefined {
  if (value === null || typeof value === 'string') return value ?? undefined;
  throw new RecordError(at, field, 'a string or null', describeValue(value));
}

function typeOf(id: string): string {
  return TYPES[Number(id) % TYPES.length] ?? '';
}

function templateLabels(files: readonly EvalFile[]): TypeLabel[] {
  return files
    .flatMap((file) => file.rows)
    .map(({ value, at }, position) => {
      const { question_type: type, image_src: image } = value;
      if (typeof type !== 'string') throw new RecordError(at, 'question_type', 'a string', describeValue(type));
      const id = String(position);
      return { id, split: '', cluster: typeof image === 'string' ? image : id, at, type };
    });
}

function ownLabels(answers: readonly Rated[]): TypeLabel[] {
  const labels = answers.map(({ id, at, type, image }): TypeLabel => ({ id, split: '', cluster: image, at, type }));
  return [...new Map(labels.map((label) => [label.id, label])).values()];
}
