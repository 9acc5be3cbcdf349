// SPDX-License-Identifier: Apache-2.0
// report --by PARAM: scores against a parameter, one chart a benchmark, from score rows that carry `params`.

import { groupBy } from '../../benchmarks/scoring/score-row.ts';
import { count } from '../../records/count.ts';
import { UsageError } from '../../records/error.ts';
import type { ByChart, ByLine, ByPoint, Interval, ScoreLine } from './data.ts';
import { intervalOf, paramsOf } from './scores.ts';

type Value = string | number | boolean;

/** Rows that differ only in this are repeats. */
const REPEATS = 'seed';
/** Minimum ratio of the largest to the smallest value for a logarithmic axis. */
const LOG_RATIO = 20;
const MAX_LINES = 24;
const MAX_POINTS = 2000;

export interface ByCharts {
  charts: ByChart[];
  notes: string[];
}

/** The charts against one parameter. Throws UsageError if no row has it. */
export function byCharts(param: string, scores: readonly ScoreLine[]): ByCharts {
  const rows = scores.filter((row) => row.split === 'all');
  const hasParams = (row: ScoreLine) => Object.keys(paramsOf(row)).length > 0;
  const swept = rows.filter((row) => paramsOf(row)[param] !== undefined);
  if (swept.length === 0) throw noSuchParam(param, rows);
  const numOthers = rows.filter((row) => hasParams(row) && paramsOf(row)[param] === undefined).length;
  const numNull = swept.filter(({ score }) => typeof score !== 'number').length;
  const benchmarks = [...new Set(swept.map(({ benchmark }) => benchmark))];
  const charts = benchmarks.map((benchmark) => {
    const ofBenchmark = (row: ScoreLine) => row.benchmark === benchmark && typeof row.score === 'number';
    const baselines = rows.filter((row) => ofBenchmark(row) && !hasParams(row));
    return chartOf(param, benchmark, swept.filter(ofBenchmark), baselines);
  });
  const numLeftOut = charts.reduce((sum, chart) => sum + chart.numLeftOut, 0);
  return {
    charts: charts.filter(({ lines }) => lines.length > 0),
    notes: [
      numOthers > 0 &&
        `--by ${param}: ${count(numOthers, 'score row has', 'score rows have')} other params and not ${param}: not in its charts`,
      numNull > 0 && `--by ${param}: ${count(numNull, 'row has', 'rows have')} no score: not in its charts`,
      numLeftOut > 0 &&
        `--by ${param}: ${count(numLeftOut, 'row')} left out: a chart has at most ${MAX_LINES} lines and ${MAX_POINTS} points`,
    ].filter((note) => note !== false),
  };
}

function noSuchParam(param: string, rows: readonly ScoreLine[]): UsageError {
  const names = [...new Set(rows.flatMap((row) => Object.keys(paramsOf(row))))];
  const found = names.length === 0 ? 'no score row with params' : `only ${names.slice(0, 20).join(', ')}`;
  return new UsageError(`--by ${param}: expected score rows with params.${param}, got ${found}`);
}

function chartOf(
  param: string,
  benchmark: string,
  rows: readonly ScoreLine[],
  baselines: readonly ScoreLine[],
): ByChart {
  const axis = axisOf(rows.map((row) => paramsOf(row)[param]!));
  const others = otherParams(param, rows);
  const byName = groupBy(rows, (row) => lineName(row, others.varying));
  const kept = [...byName].slice(0, MAX_LINES);
  const max = Math.max(1, Math.floor(MAX_POINTS / Math.max(1, kept.length)));
  const lines = kept.map(([name, ofLine]) =>
    lineOf(name, ofLine.slice(0, max), (row) => axis.place(paramsOf(row)[param]!)),
  );
  const numShown = kept.reduce((sum, [, ofLine]) => sum + Math.min(max, ofLine.length), 0);
  return {
    param,
    benchmark,
    ...(axis.categories && { categories: axis.categories }),
    isLog: axis.isLog,
    lines,
    baselines: baselines.slice(0, MAX_LINES).map((row) => ({ name: rowName(row), ...scoreOf(row) })),
    same: others.same,
    numLeftOut: rows.length - numShown + Math.max(0, baselines.length - MAX_LINES),
  };
}

interface Axis {
  isLog: boolean;
  /** Labels at 0, 1, 2... of an axis of words. */
  categories?: string[];
  place(value: Value): number;
}

function axisOf(values: readonly Value[]): Axis {
  const asNumber = (value: Value) =>
    typeof value === 'number' || (typeof value === 'string' && value.trim() !== '') ? Number(value) : Number.NaN;
  const numbers = values.map(asNumber);
  if (numbers.every(Number.isFinite)) {
    const [low, high] = [numbers.reduce((a, b) => Math.min(a, b)), numbers.reduce((a, b) => Math.max(a, b))];
    return { isLog: low > 0 && high / low >= LOG_RATIO, place: asNumber };
  }
  const places = new Map<string, number>();
  for (const value of values) if (!places.has(String(value))) places.set(String(value), places.size);
  return { isLog: false, categories: [...places.keys()], place: (value) => places.get(String(value))! };
}

/** The other parameters: those that differ between rows, and those that all rows share. */
function otherParams(param: string, rows: readonly ScoreLine[]): { varying: string[]; same: [string, string][] } {
  const texts = new Map<string, Set<string>>();
  const names = new Set(rows.flatMap((row) => Object.keys(paramsOf(row))));
  for (const name of names) texts.set(name, new Set(rows.map((row) => String(paramsOf(row)[name] ?? ''))));
  const others = [...texts].filter(([name]) => name !== param && name !== REPEATS);
  return {
    varying: others.filter(([, values]) => values.size > 1).map(([name]) => name),
    same: others.filter(([, values]) => values.size === 1).map(([name, [value]]) => [name, value!]),
  };
}

function lineName(row: ScoreLine, varying: readonly string[]): string {
  const params = paramsOf(row);
  const parts = varying.filter((name) => params[name] !== undefined).map((name) => `${name} ${params[name]}`);
  return [...(typeof row.model === 'string' ? [row.model] : []), ...parts].join(', ') || 'score';
}

function rowName({ run, model }: ScoreLine): string {
  return typeof model === 'string' ? `${run}, ${model}` : run;
}

function scoreOf(row: ScoreLine): { score: number; interval?: Interval } {
  const interval = intervalOf(row);
  return { score: row.score as number, ...(interval && { interval }) };
}

/** Points from left to right: the mean of the repeats at each value. */
function lineOf(name: string, rows: readonly ScoreLine[], place: (row: ScoreLine) => number): ByLine {
  const byPlace = groupBy(rows, place);
  const points = [...byPlace].map(([x, repeats]): ByPoint => {
    const scores = repeats.map(scoreOf);
    return { x, mean: scores.reduce((sum, { score }) => sum + score, 0) / scores.length, scores };
  });
  return { name, points: points.sort((a, b) => a.x - b.x) };
}
