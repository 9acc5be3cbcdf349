// SPDX-License-Identifier: Apache-2.0
// MT-Bench: mean rating by turn, by category and overall; or pairwise wins over two games. Source: FastChat llm_judge
// common.py (replies) and show_result.py (means).

import { pythonFloat } from '../../python/number.ts';
import { RecordError } from '../../records/error.ts';
import { describeValue, isObject, type Place } from '../../records/field.ts';
import { withoutReasoning } from '../../text/reasoning.ts';
import { type Answer, type Label, place, rowId } from '../scoring/answers.ts';
import type { EvalFile, JsonObject } from '../scoring/file.ts';
import type { Joined } from '../scoring/join.ts';
import { holdGuide, holdRecords, type Judged, readEntries, readJudged, scoreOf } from '../scoring/judged.ts';
import {
  type EvalInput,
  type EvalOptions,
  type Evaluation,
  finite,
  groupBy,
  labelHashes,
  type ScoreRow,
} from '../scoring/score-row.ts';
import { benchmarkScorer } from '../scoring/scorer.ts';
import { clusteredInterval, meanOf } from '../scoring/statistics.ts';

/** The official parser: the first number in double square brackets, else the first in single ones, else -1. */
export function parseRatingOfficial(judgment: string): number {
  const match = /\[\[(\p{Nd}+\.?\p{Nd}*)\]\]/u.exec(judgment) ?? /\[(\p{Nd}+\.?\p{Nd}*)\]/u.exec(judgment);
  // ast.literal_eval refuses a leading zero ("[[08]]") and stops the script, so it is no rating.
  if (match === null || /^0\d+$/.test(match[1]!)) return -1;
  return pythonFloat(match[1]!) ?? -1;
}

/** The one rating from 1 to 10 in double square brackets; undefined for none or several different ones. */
export function parseRatingStrict(judgment: string): number | undefined {
  const said = withoutReasoning(judgment);
  const ratings = new Set(
    [...said.matchAll(/\[\[\s*(\d+(?:\.\d+)?)\s*(?:\/\s*10\s*)?\]\]/g)].map((match) => Number(match[1])),
  );
  const [rating = Number.NaN] = ratings;
  return ratings.size === 1 && rating >= 1 && rating <= 10 ? rating : undefined;
}

/** One rating of one turn; undefined: failed. */
interface Rating extends Answer {
  turn: number;
  rating: number | undefined;
  category: string;
}

interface TurnLabel extends Label {
  category: string;
}

/** Scores judgment files (single or pairwise) or records judged with guide mt-bench or mt-bench-pair. */
export function scoreMTBench(input: EvalInput): Evaluation {
  const { answers: files, options } = input;
  if (holdRecords(files)) {
    const isPair = holdGuide(files, 'mt-bench-pair') && !holdGuide(files, 'mt-bench');
    if (isPair) return scorePairs(gamesOfRecords(files, options), input);
    return scoreRatings(input);
  }
  const isPair = files.some((file) => file.rows.some(({ value }) => 'g1_winner' in value));
  return isPair ? scorePairs(pairRows(files), input) : scoreRatings(input);
}

type RatedTurn = Joined<TurnLabel, Rating>;

const scoreRatings = benchmarkScorer<TurnLabel, Rating, RatedTurn>({
  benchmark: 'mt-bench',
  read(input) {
    const { answers: files, labels, questions, options } = input;
    const ratings = holdRecords(files) ? ratedRecords(files, options) : ratingRows(files, options);
    return { answers: ratings, labels: turnLabels([...labels, ...questions], ratings) };
  },
  mark: (joined): RatedTurn[] => joined,
  parts(turns, labels) {
    const splits = [...new Set(labels.map((label) => label.split))].sort();
    const categories = [...new Set(labels.map((label) => label.category))].filter((category) => category !== '');
    return [
      ...splits.map((split) => [split, turns.filter(({ label }) => label.split === split)] as const),
      ...categories.map((category) => [category, turns.filter(({ label }) => label.category === category)] as const),
    ];
  },
  figures(turns, { split }) {
    const rated = turns.flatMap(({ label, answer }) =>
      answer?.rating === undefined ? [] : [{ cluster: label.cluster, rating: answer.rating }],
    );
    const missing = turns.filter(({ answer }) => answer === undefined).length;
    return {
      n: rated.length,
      score: finite(meanOf(rated.map(({ rating }) => rating))),
      ...clusteredInterval(
        rated.map(({ cluster, rating }) => ({ cluster, sums: [rating, 1] })),
        ([sum, count]) => sum! / count!,
        [1, 10],
      ),
      failed: turns.length - missing - rated.length,
      ...(missing > 0 && split === 'all' && { missing }),
    };
  },
  failed: (turns) => turns.filter(({ answer }) => answer !== undefined && answer.rating === undefined).length,
  items: (turns) =>
    [...groupBy(turns, ({ label }) => label.id)].flatMap(([id, group]) => {
      const known = group.flatMap(({ answer }) => answer?.rating ?? []);
      if (known.length === 0) return [];
      return [{ split: group[0]!.label.category, id, cluster: id, value: meanOf(known) }];
    }),
});

function ratingRows(files: readonly EvalFile[], options: EvalOptions): Rating[] {
  return files.flatMap((file) =>
    file.rows.map(({ value, at }) => {
      const { model, turn, score, judgment } = value;
      if (typeof model !== 'string') throw new RecordError(at, 'model', 'a string', describeValue(model));
      if (turn !== 1 && turn !== 2) throw new RecordError(at, 'turn', '1 or 2', describeValue(turn));
      const read =
        options.parse === 'strict' && typeof judgment === 'string'
          ? (parseRatingStrict(judgment) ?? -1)
          : (score ?? (typeof judgment === 'string' ? parseRatingOfficial(judgment) : undefined));
      if (typeof read !== 'number') throw new RecordError(at, 'score', 'a number', describeValue(score));
      return {
        ...{ id: rowId(value, at), at, model, split: `turn-${turn}`, text: '', row: {} },
        turn,
        rating: read === -1 || Number.isNaN(read) ? undefined : read,
        category: '',
      };
    }),
  );
}

function ratedRecords(files: readonly EvalFile[], options: EvalOptions): Rating[] {
  return readJudged(files, 'mt-bench', options).flatMap((judged) => {
    const { id, at, model, record } = judged;
    const category = String(record.meta?.category ?? '');
    const numTurns = turnsOf(judged);
    return Array.from({ length: numTurns }, (_, index) => {
      const name = numTurns === 1 && judged.scores?.rating_turn_1 === undefined ? 'rating' : `rating_turn_${index + 1}`;
      const rating = judged.failed === undefined ? scoreOf(judged, name) : undefined;
      const turn = index + 1;
      return { id, at, model, split: `turn-${turn}`, text: '', row: {}, turn, rating, category };
    });
  });
}

// For a failed call, only the prompt gives the number of turns.
function turnsOf({ scores, record }: Judged): number {
  if (scores !== undefined)
    return Math.max(1, Object.keys(scores).filter((name) => /^rating_turn_\d+$/.test(name)).length);
  return Array.isArray(record.prompt) ? record.prompt.filter((message) => message.role === 'user').length : 1;
}

/** One label per turn of each question, from question.jsonl or from the ratings. */
function turnLabels(files: readonly EvalFile[], ratings: readonly Rating[]): TurnLabel[] {
  const rows = files.flatMap((file) => file.rows).filter(({ value }) => Array.isArray(value.turns));
  if (rows.length > 0)
    return rows.flatMap(({ value, at }) => {
      const id = rowId(value, at);
      const category = String(value.category ?? '');
      return (value.turns as unknown[]).map((_, index) => ({
        id,
        split: `turn-${index + 1}`,
        cluster: id,
        at,
        category,
      }));
    });
  const labels = new Map<string, TurnLabel>();
  for (const { id, turn, at, category } of ratings)
    if (!labels.has(`${id}/${turn}`))
      labels.set(`${id}/${turn}`, { id, split: `turn-${turn}`, cluster: id, at, category });
  return [...labels.values()];
}

/** One comparison: the winner of each of the two games. */
interface Game {
  id: string;
  at: Place;
  models: [string, string];
  winners: [string, string];
}

function pairRows(files: readonly EvalFile[]): Game[] {
  return files.flatMap((file) => file.rows.map(({ value, at }) => pairRow(value, at)));
}

const WINNERS = ['model_1', 'model_2', 'tie', 'error'];

function pairRow(value: JsonObject, at: Place): Game {
  const { model_1, model_2, g1_winner, g2_winner } = value;
  for (const [field, model] of Object.entries({ model_1, model_2 }))
    if (typeof model !== 'string') throw new RecordError(at, field, 'a string', describeValue(model));
  for (const [field, winner] of Object.entries({ g1_winner, g2_winner }))
    if (!WINNERS.includes(winner as string))
      throw new RecordError(at, field, WINNERS.join(', '), describeValue(winner));
  const turn = value.turn === undefined ? '' : `/${value.turn}`;
  return {
    id: `${rowId(value, at)}${turn}`,
    at,
    models: [model_1 as string, model_2 as string],
    winners: [g1_winner as string, g2_winner as string],
  };
}

/** Wins by model: a tie unless both games agree; a game with an error drops the pair. */
function scorePairs(games: Game[], { labels: labelFiles, options }: EvalInput): Evaluation {
  const evaluation: Evaluation = { rows: [], items: [], notes: [], failed: 0 };
  const seen = new Map<string, Game>();
  const results: { model: string; id: string; value: number }[] = [];
  const failedOf = new Map<string, number>();
  for (const game of games) {
    const key = `${game.id}\n${[...game.models].sort().join('\n')}`;
    const earlier = seen.get(key);
    if (earlier !== undefined && options.duplicates === 'error')
      throw new RecordError(
        game.at,
        'question_id',
        'a question and models not seen before',
        `${game.id}, also at ${place(earlier.at)}`,
      );
    if (earlier !== undefined && options.duplicates === 'first') continue;
    seen.set(key, game);
  }
  for (const { id, models, winners } of seen.values()) {
    if (winners.includes('error')) {
      evaluation.failed += 1;
      for (const model of models) failedOf.set(model, (failedOf.get(model) ?? 0) + 1);
      continue;
    }
    const [first, second] = winners;
    const isTie = first === 'tie' || first !== second;
    for (const [index, model] of models.entries())
      results.push({
        model,
        id: id.replace(/\/\d+$/, ''),
        value: isTie ? 0.5 : first === `model_${index + 1}` ? 1 : 0,
      });
  }
  for (const [model, group] of groupBy(results, (result) => result.model)) {
    evaluation.rows.push({
      ...winRow(model, group),
      failed: failedOf.get(model) ?? 0,
      ...labelHashes(labelFiles),
      parse: options.parse,
    });
    for (const { id, value } of group) evaluation.items.push({ model, split: '', id, cluster: id, value });
  }
  return evaluation;
}

function winRow(model: string, results: { id: string; value: number }[]): ScoreRow {
  const n = results.length;
  const count = (value: number) => results.filter((result) => result.value === value).length;
  const [wins, ties, losses] = [count(1), count(0.5), count(0)] as [number, number, number];
  return {
    benchmark: 'mt-bench',
    split: 'all',
    model,
    n,
    score: finite((100 * (wins + 0.5 * ties)) / n),
    wins,
    ties,
    losses,
    win_rate: finite(wins / n),
    loss_rate: finite(losses / n),
    win_rate_adjusted: finite((wins + 0.5 * ties) / n),
    ...clusteredInterval(
      results.map(({ id, value }) => ({ cluster: id, sums: [value, 1] })),
      ([sum, total]) => (100 * sum!) / total!,
      [0, 100],
    ),
  };
}

/** Games from the records' pairwise verdicts: the first response against the second, or against the reference. */
function gamesOfRecords(files: readonly EvalFile[], options: EvalOptions): Game[] {
  return readEntries(files, 'mt-bench-pair', options).flatMap(({ id, at, record, annotation }): Game[] => {
    const models = [0, 1].map((index) => record.responses?.[index]?.label ?? (index === 0 ? 'response' : 'reference'));
    const game = { id, at, models: models as [string, string] };
    if (annotation?.outcome !== 'ok') return [{ ...game, winners: ['error', 'error'] }];
    const turns = Array.isArray(annotation.verdict) ? annotation.verdict.filter(isObject) : [];
    return turns.map(({ turn, games, winner }) => {
      const [first, second = first] = Array.isArray(games) ? games : [winner];
      return { ...game, id: `${id}/${turn ?? 1}`, winners: [winnerName(first), winnerName(second)] };
    });
  });
}

function winnerName(response: unknown): string {
  return response === 0 ? 'model_1' : response === 1 ? 'model_2' : 'tie';
}
