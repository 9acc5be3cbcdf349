// SPDX-License-Identifier: Apache-2.0
// `eval published`: rows of a matrix (score rows with `params`) beside the papers' figures for the same parameters.

import { benchmarks } from '../../benchmarks/by-name.ts';
import {
  type DrawnFigure,
  isOverall,
  missingSplits,
  type PublishedRow,
  type Settings,
} from '../../benchmarks/published.ts';
import { count } from '../../records/count.ts';
import { RecordError, UsageError } from '../../records/error.ts';
import { describeValue, isObject, type Place } from '../../records/field.ts';
import type { GateInput } from './gate.ts';
import { alignColumns, difference, intervalText, shortNumber } from './table.ts';

/** A paper's figure for the parameters of a row. */
export interface Printed {
  method: string;
  source: string;
  score: number;
  /** Ours minus theirs. */
  difference: number | null;
  hours?: number;
}

export interface PublishedResult {
  /** The rows, with `published` added if a paper has the same parameters. */
  rows: (GateInput & { published?: Printed[] })[];
  notes: string[];
}

type Params = Readonly<Record<string, unknown>>;

/** Throws RecordError if `params` is not a flat object, UsageError if no row has it. */
export function besidePublished(rows: readonly { value: GateInput; at: Place }[]): PublishedResult {
  const splits = splitsByRun(rows.map(({ value }) => value));
  const partial = new Set<string>();
  const found = rows.map(({ value, at }) => {
    const params = paramsOf(value, at);
    const { published: _ours, ...row } = value;
    const missing = missingSplits(benchmarks.get(value.benchmark)?.published ?? [], splits.get(runKey(value))!);
    const isPartial = isOverall(value.split) && missing.length > 0;
    if (isPartial) partial.add(`${value.benchmark}: rows over all splits lack ${missing.join(', ')}: not compared`);
    const printed = params === undefined || isPartial ? [] : printedFor(row as GateInput, params);
    return printed.length === 0 ? (row as GateInput) : { ...(row as GateInput), published: printed };
  });
  if (rows.every(({ value }) => value.params === undefined))
    throw new UsageError('published: expected rows with `params` (see MATRIX in vpref-eval(1)), got none');
  return { rows: found, notes: [...partial, ...drawnFor(rows.map(({ value }) => value)).map(drawnText)] };
}

const runKey = ({ benchmark, model, params }: GateInput) => JSON.stringify([benchmark, model, params]);

function splitsByRun(rows: readonly GateInput[]): Map<string, Set<string>> {
  const splits = new Map<string, Set<string>>();
  for (const row of rows) splits.set(runKey(row), (splits.get(runKey(row)) ?? new Set()).add(row.split));
  return splits;
}

function paramsOf({ params }: GateInput, at: Place): Params | undefined {
  if (params === undefined) return undefined;
  if (!isObject(params)) throw new RecordError(at, 'params', 'an object', describeValue(params));
  for (const [name, value] of Object.entries(params))
    if (!['string', 'number', 'boolean'].includes(typeof value))
      throw new RecordError(at, `params.${name}`, 'a number, a text or a boolean', describeValue(value));
  return params;
}

function printedFor(row: GateInput, params: Params): Printed[] {
  const isSame = ({ settings }: PublishedRow) => settings?.some((setting) => agrees(params, setting));
  return (benchmarks.get(row.benchmark)?.published ?? [])
    .filter(isSame)
    .flatMap(({ method, source, scores, hours }) => {
      const score = scores[row.split];
      if (score === undefined) return [];
      const ours = row.printed ?? row.score;
      return [
        {
          ...{ method, source, score, difference: typeof ours === 'number' ? ours - score : null },
          ...(hours !== undefined && { hours }),
        },
      ];
    });
}

/** Equal parameters, except the seed; a numeric string equals its number. */
function agrees(params: Params, setting: Settings): boolean {
  const { seed: _repeat, ...own } = params;
  const names = Object.keys(own);
  return (
    names.length === Object.keys(setting).length &&
    names.every((name) => setting[name] !== undefined && isEqual(own[name], setting[name]!))
  );
}

function isEqual(value: unknown, known: string | number): boolean {
  return typeof known === 'number' ? String(value).trim() !== '' && Number(value) === known : value === known;
}

/** Notes for figures over a parameter that papers only plot. */
function drawnFor(rows: readonly GateInput[]): [benchmark: string, figure: DrawnFigure][] {
  return [...new Set(rows.map(({ benchmark }) => benchmark))].flatMap((name) => {
    const params = new Set(
      rows.filter((row) => row.benchmark === name).flatMap((row) => Object.keys((row.params as object) ?? {})),
    );
    const drawn = (benchmarks.get(name)?.drawn ?? []).filter(({ by }) => by !== undefined && params.has(by));
    return drawn.map((figure) => [name, figure] as [string, DrawnFigure]);
  });
}

function drawnText([benchmark, { source, shows }]: [benchmark: string, figure: DrawnFigure]): string {
  return `${benchmark}: ${source} (${shows}) has no printed numbers`;
}

/** One table per benchmark: its rows of split `all` and those that a paper has, in input order. */
export function formatPublishedTable({ rows, notes }: PublishedResult): string[] {
  const shown = rows.filter(({ split, published }) => split === 'all' || published !== undefined);
  const names = [...new Set(shown.map(({ benchmark }) => benchmark))];
  const tables = names.flatMap((name) => [
    name,
    ...benchmarkTable(shown.filter(({ benchmark }) => benchmark === name)),
    '',
  ]);
  const left = rows.length - shown.length;
  return [
    ...tables,
    ...notes,
    ...(left > 0 ? [`${count(left, 'row of other splits is', 'rows of other splits are')} not shown`] : []),
  ];
}

/** A column: its heading, a row's cell, and whether it is left-aligned. */
type Column<Row> = [head: string, cell: (row: Row) => string, isLeft?: boolean];

function benchmarkTable(rows: PublishedResult['rows']): string[] {
  const some = (has: (row: GateInput & { published?: Printed[] }) => boolean) => rows.some(has);
  const ours: Column<GateInput>[] = [
    ['run', runName, true],
    ...(some(({ split }) => split !== 'all') ? [['split', ({ split }) => split, true] as Column<GateInput>] : []),
    ['n', ({ n }) => String(n ?? '')],
    ['score', ({ printed, score }) => shortNumber(printed ?? score)],
    ['95 % interval', ({ ci95 }) => intervalText(ci95)],
    ...(some(({ train_seconds }) => typeof train_seconds === 'number') ? [TRAINING] : []),
  ];
  const hasTheirs = some(({ published }) => published !== undefined);
  const hasTime = some(({ published }) => published?.some(({ hours }) => hours !== undefined) === true);
  const theirs = hasTheirs ? PRINTED.filter(([head]) => hasTime || head !== PRINTED_HOURS) : [];
  const lines = rows.flatMap((row) => {
    const own = ours.map(([, cell]) => cell(row));
    const lines = (row.published ?? [undefined]).map((printed) =>
      theirs.map(([, cell]) => (printed === undefined ? '' : cell(printed))),
    );
    return lines.map((cells, place) => [...(place === 0 ? own : own.map(() => '')), ...cells]);
  });
  const columns = [...ours, ...theirs];
  const left = columns.flatMap(([, , isLeft], place) => (isLeft === true ? [place] : []));
  return alignColumns([columns.map(([head]) => head), ...lines], new Set(left));
}

const TRAINING: Column<GateInput> = ['training', ({ train_seconds: seconds }) => durationText(seconds)];

function durationText(seconds: unknown): string {
  if (typeof seconds !== 'number') return '';
  return seconds < 600 ? `${seconds.toFixed(0)} s` : `${(seconds / 3600).toFixed(2)} h`;
}

const PRINTED_HOURS = 'their training';
const PRINTED: readonly Column<Printed>[] = [
  ['published', ({ score }) => shortNumber(score)],
  ['difference', ({ score, difference: ours }) => difference(ours === null ? null : ours + score, score)],
  [PRINTED_HOURS, ({ hours }) => (hours === undefined ? '' : `${hours.toFixed(1)} h`)],
  ['method', ({ method }) => method, true],
  ['source', ({ source }) => source, true],
];

/** "step 500, seed 0"; the model of a row without parameters. */
function runName({ params, model }: GateInput): string {
  const settings = Object.entries((params as object | undefined) ?? {}).map(([name, value]) => `${name} ${value}`);
  return settings.length > 0 ? settings.join(', ') : typeof model === 'string' ? model : 'before';
}
