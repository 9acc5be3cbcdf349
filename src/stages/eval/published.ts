// SPDX-License-Identifier: Apache-2.0
// `eval published`: rows of a matrix (score rows with `params`), with what the papers print for the same parameters beside them.
import { benchmarks } from '../../benchmarks/by-name.ts';
import type { DrawnFigure, PublishedRow, Settings } from '../../benchmarks/published.ts';
import { RecordError, UsageError } from '../../records/error.ts';
import { describeValue, isObject, type Place } from '../../records/field.ts';
import type { GateInput } from './gate.ts';
import { alignColumns, difference, intervalText, shortNumber } from './table.ts';

/** What a paper prints for the parameters of a row. */
export interface Printed {
  method: string;
  source: string;
  score: number;
  /** Ours minus theirs. */
  difference: number | null;
  hours?: number;
}

export interface PublishedResult {
  /** The rows as they came, with `published` where a paper has the same parameters. */
  rows: (GateInput & { published?: Printed[] })[];
  notes: string[];
}

type Params = Readonly<Record<string, unknown>>;

/** Throws RecordError for `params` that are no flat object, UsageError where no row has any. */
export function besidePublished(rows: readonly { value: GateInput; at: Place }[]): PublishedResult {
  const found = rows.map(({ value, at }) => {
    const params = paramsOf(value, at);
    const { published: _ours, ...row } = value;
    const printed = params === undefined ? [] : printedFor(row as GateInput, params);
    return printed.length === 0 ? (row as GateInput) : { ...(row as GateInput), published: printed };
  });
  if (rows.every(({ value }) => value.params === undefined))
    throw new UsageError('published: expected rows with `params` (see MATRIX in vpref-eval(1)), got none');
  return { rows: found, notes: drawnFor(rows.map(({ value }) => value)).map(drawnText) };
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
  const isSame = ({ settings }: PublishedRow) => settings.some((setting) => agrees(params, setting));
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

/** The same parameters, the seed aside; a text that reads as a number is one. */
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

/** Figures over a parameter of the rows that no numbers are printed of. */
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

/** A table a benchmark: its rows of split `all` and those that a paper has, in their order. */
export function formatPublishedTable({ rows, notes }: PublishedResult): string[] {
  const shown = rows.filter(({ split, published }) => split === 'all' || published !== undefined);
  const names = [...new Set(shown.map(({ benchmark }) => benchmark))];
  const tables = names.flatMap((name) => [
    name,
    ...benchmarkTable(shown.filter(({ benchmark }) => benchmark === name)),
    '',
  ]);
  const left = rows.length - shown.length;
  return [...tables, ...notes, ...(left > 0 ? [`${left} rows of other splits are not shown`] : [])];
}

function benchmarkTable(rows: PublishedResult['rows']): string[] {
  const hasTime = rows.some(({ train_seconds }) => typeof train_seconds === 'number');
  const isPublished = rows.some(({ published }) => published !== undefined);
  const isSplit = rows.some(({ split }) => split !== 'all');
  const header = [
    ...['run', ...(isSplit ? ['split'] : []), 'n', 'score', '95 % interval', ...(hasTime ? ['training, h'] : [])],
    ...(isPublished ? ['published', 'difference', 'training, h', 'method', 'source'] : []),
  ];
  const lines = rows.flatMap((row) => {
    const ours = [
      runName(row),
      ...(isSplit ? [row.split] : []),
      String(row.n ?? ''),
      shortNumber(row.printed ?? row.score),
      intervalText(row.ci95),
      ...(hasTime ? [typeof row.train_seconds === 'number' ? (row.train_seconds / 3600).toFixed(3) : ''] : []),
    ];
    const printed = row.published?.map(({ score, method, source, hours }) => [
      ...[shortNumber(score), difference(row.printed ?? row.score, score), hours?.toFixed(1) ?? '', method, source],
    ]);
    const none = isPublished ? ['', '', '', '', ''] : [];
    return (printed ?? [none]).map((theirs, place) => [...(place === 0 ? ours : ours.map(() => '')), ...theirs]);
  });
  const left = new Set([0, ...(isSplit ? [1] : []), ...(isPublished ? [header.length - 2, header.length - 1] : [])]);
  return alignColumns([header, ...lines], left);
}

/** "step 500, seed 0"; the model of a row without parameters. */
function runName({ params, model }: GateInput): string {
  const settings = Object.entries((params as object | undefined) ?? {}).map(([name, value]) => `${name} ${value}`);
  return settings.length > 0 ? settings.join(', ') : typeof model === 'string' ? model : 'before';
}
