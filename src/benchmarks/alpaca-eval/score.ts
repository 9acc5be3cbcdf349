// SPDX-License-Identifier: Apache-2.0
// AlpacaEval: win rate against a baseline (v1, v2 weighted), and length-controlled if df_gamed.csv is given. Source:
// tatsu-lab/alpaca_eval metrics/helpers.py, metrics/glm_winrate.py, completion_parsers.py.

import { pythonLiteral } from '../../python/literal.ts';
import { numpyMean } from '../../python/numpy.ts';
import { pythonRandom } from '../../python/random.ts';
import { pythonLength } from '../../python/text.ts';
import { RecordError, UsageError } from '../../records/error.ts';
import { describeValue, isObject, type Place } from '../../records/field.ts';
import { withoutReasoning } from '../../text/reasoning.ts';
import type { Answer, Label } from '../scoring/answers.ts';
import type { EvalFile, JsonObject } from '../scoring/file.ts';
import type { Joined } from '../scoring/join.ts';
import { holdRecords, readEntries } from '../scoring/judged.ts';
import { type EvalOptions, finite } from '../scoring/score-row.ts';
import { benchmarkScorer, partsBy } from '../scoring/scorer.ts';
import { clusteredInterval } from '../scoring/statistics.ts';
import { type LengthRow, lengthControlledWinRate, readGamed } from './length-controlled.ts';

/** Whether the official annotator shows output_2 first: CPython's draw from the instruction. */
export function isSwitched(instruction: string, seed = '0'): boolean {
  return pythonRandom(`is_switched_outputs${instruction}${seed}`).chooseOne([false, true]);
}

/** The rank of the first shown answer in a reply such as [{'model': 'model_1', 'rank': 1}, ...]; undefined if unparsed. */
export function parseRankingOfficial(reply: string): number | undefined {
  const ranking = pythonLiteral(reply);
  if (!Array.isArray(ranking)) return undefined;
  for (const entry of ranking) {
    if (!isObject(entry) || !('model' in entry)) return undefined;
    if (entry.model !== 'model_1') continue;
    // In Python True is 1.
    const rank = entry.rank === true ? 1 : entry.rank;
    return rank === 1 || rank === 2 ? rank : undefined;
  }
  return undefined;
}

/** A complete, consistent ranking anywhere in the reply. */
export function parseRankingStrict(reply: string): number | undefined {
  const said = withoutReasoning(reply);
  const entry = /\{\s*['"]model['"]\s*:\s*['"]model_([12])['"]\s*,\s*['"]rank['"]\s*:\s*([12])\s*,?\s*\}/g;
  const entries = [...said.matchAll(entry)].map((match) => [match[1]!, Number(match[2])] as const);
  const ranks = new Map(entries);
  if (entries.some(([model, rank]) => ranks.get(model) !== rank)) return undefined;
  return ranks.size === 2 && ranks.get('1') !== ranks.get('2') ? ranks.get('1') : undefined;
}

/** One comparison. */
interface Comparison extends Answer {
  dataset: string;
  /** 1: the baseline wins, 2: the model wins, between: graded preference; undefined: the judge call failed. */
  preference: number | undefined;
  isUnparsed: boolean;
  baselineLength: number;
  modelLength: number;
  index: number;
}

/** Scores annotations.json, or records judged with guide alpaca-eval. */
export const scoreAlpacaEval = benchmarkScorer<Label, Comparison, Joined<Label, Comparison>>({
  benchmark: 'alpaca-eval',
  read({ answers: files, labels, options }) {
    const answers = holdRecords(files)
      ? comparedRecords(files, options)
      : files.flatMap((file) => comparedRows(file, options));
    return { answers, labels: readLabels(labels, answers) };
  },
  mark: (joined) => joined,
  parts: (questions) => partsBy(questions, ({ answer }) => answer?.dataset ?? '').filter(([dataset]) => dataset !== ''),
  figures(part, { split, input }) {
    const compared = part.flatMap(({ answer }) => answer ?? []);
    const controlled =
      split === 'all' && input.tables.length > 0
        ? { length_controlled_win_rate: lengthControlledWinRate(compared.map(lengthRow), readGamed(input.tables)) }
        : {};
    const missing = part.length - compared.length;
    return { ...winFigures(compared, controlled), ...(missing > 0 && { missing }) };
  },
  failed: (questions) =>
    questions.filter(({ answer }) => answer !== undefined && answer.preference === undefined).length,
  items: (questions) =>
    questions.flatMap(({ answer }) => {
      if (answer?.preference === undefined) return [];
      const { id, dataset, preference } = answer;
      return [{ split: dataset, id, cluster: id, value: preference - 1 }];
    }),
});

function lengthRow({ preference, index, baselineLength, modelLength }: Comparison): LengthRow {
  return {
    preference: preference === undefined ? undefined : preference - 1,
    index,
    lengthDifference: baselineLength - modelLength,
  };
}

function winFigures(compared: readonly Comparison[], controlled: object) {
  const judged = compared.filter((comparison) => comparison.preference !== undefined);
  const wins = judged.map(({ preference }) => preference! - 1);
  const mean = numpyMean(wins);
  const variance = wins.reduce((sum, win) => sum + (win - mean) ** 2, 0) / (wins.length - 1);
  const discrete = wins.map((win) => (win === 0.5 ? 0.5 : win > 0.5 ? 1 : 0));
  return {
    n: judged.length,
    score: finite(100 * mean),
    ...controlled,
    discrete_win_rate: finite(100 * numpyMean(discrete)),
    standard_error: finite(100 * Math.sqrt(variance / wins.length)),
    n_wins: wins.filter((win) => win > 0.5).length,
    n_wins_base: wins.filter((win) => win < 0.5).length,
    n_draws: wins.filter((win) => win === 0.5).length,
    avg_length: finite(Math.floor(numpyMean(compared.map((comparison) => comparison.modelLength)))),
    ...clusteredInterval(
      judged.map(({ id, preference }) => ({ cluster: id, sums: [preference! - 1, 1] })),
      ([sum, count]) => (100 * sum!) / count!,
      [0, 100],
    ),
    unparsed: compared.filter((comparison) => comparison.isUnparsed).length,
    failed: compared.length - judged.length,
  };
}

function comparedRows(file: EvalFile, options: EvalOptions): Comparison[] {
  return file.rows.map(({ value, at }, position) => {
    const { instruction, output_1, output_2, generator_2, dataset, index } = value;
    if (typeof instruction !== 'string')
      throw new RecordError(at, 'instruction', 'a string', describeValue(instruction));
    for (const [field, output] of Object.entries({ output_1, output_2 }))
      if (typeof output !== 'string') throw new RecordError(at, field, 'a string', describeValue(output));
    return {
      ...{ id: instruction, at, model: typeof generator_2 === 'string' ? generator_2 : '', text: '', row: {} },
      dataset: typeof dataset === 'string' ? dataset : '',
      ...preferenceOf(value, instruction, at, options),
      baselineLength: pythonLength(output_1 as string),
      modelLength: pythonLength(output_2 as string),
      index: typeof index === 'number' ? index : position,
    };
  });
}

// 0 and 1.5 mean a draw; null means a failed judge call. Strict mode reparses plain-text replies.
function preferenceOf(value: JsonObject, instruction: string, at: Place, { parse }: EvalOptions) {
  const { preference, raw_completion: reply, output_1, output_2 } = value;
  const isReply = typeof reply === 'string' && reply.includes('model_1');
  if (isReply && output_1 !== output_2 && (preference === undefined || parse === 'strict')) {
    const rank = parse === 'strict' ? parseRankingStrict(reply) : parseRankingOfficial(reply);
    if (rank === undefined) return { preference: undefined, isUnparsed: true };
    return { preference: isSwitched(instruction) ? 3 - rank : rank, isUnparsed: false };
  }
  if (preference === null || Number.isNaN(preference)) return { preference: undefined, isUnparsed: false };
  if (preference === 0) return { preference: 1.5, isUnparsed: false };
  if (typeof preference !== 'number' || preference < 1 || preference > 2)
    throw new RecordError(at, 'preference', '1 to 2, 0 or null', describeValue(preference));
  return { preference, isUnparsed: false };
}

function comparedRecords(files: readonly EvalFile[], options: EvalOptions): Comparison[] {
  return readEntries(files, 'alpaca-eval', options).map(({ id, at, record, annotation }, index) => {
    const responses = record.responses ?? [];
    const labelled = responses.findIndex((response) => response.label === options.label);
    const own = options.label === undefined ? 0 : labelled;
    if (own === -1) throw new RecordError(at, 'responses', `one with label ${options.label}`, 'other labels');
    const other = responses[1 - own]?.text ?? (typeof record.reference === 'string' ? record.reference : '');
    const verdict = Array.isArray(annotation?.verdict) ? annotation.verdict[0] : undefined;
    const winner = isObject(verdict) ? verdict.winner : undefined;
    const isOk = annotation?.outcome === 'ok' && winner !== undefined;
    return {
      // alpaca_eval.json has no ids, so the instruction serves as id.
      id: typeof record.prompt === 'string' ? record.prompt : id,
      ...{ at, model: responses[own]?.label ?? '', text: '', row: {} },
      dataset: String(record.meta?.dataset ?? ''),
      preference: !isOk ? undefined : winner === null ? 1.5 : winner === own ? 2 : 1,
      isUnparsed: annotation?.outcome === 'unparsable',
      baselineLength: pythonLength(other),
      modelLength: pythonLength(responses[own]?.text ?? ''),
      index: typeof record.meta?.index === 'number' ? record.meta.index : index,
    };
  });
}

/** alpaca_eval.json, or the judged instructions. */
function readLabels(files: readonly EvalFile[], comparisons: readonly Comparison[]): Label[] {
  if (files.length === 0)
    return [...new Map(comparisons.map((comparison) => [comparison.id, comparison])).values()].map(({ id, at }) => ({
      id,
      split: '',
      cluster: id,
      at,
    }));
  return files.flatMap((file) =>
    file.rows.map(({ value, at }) => {
      if (typeof value.instruction !== 'string')
        throw new UsageError(
          `${at.source}:${at.line}: instruction: expected a string, got ${describeValue(value.instruction)}`,
        );
      return { id: value.instruction, split: '', cluster: value.instruction, at };
    }),
  );
}
