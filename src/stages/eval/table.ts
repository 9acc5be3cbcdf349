// SPDX-License-Identifier: Apache-2.0
// Score rows as a text table, with the papers' rows below.

import { benchmarks } from '../../benchmarks/by-name.ts';
import { isOverall, missingSplits } from '../../benchmarks/published.ts';
import type { ScoreRow } from '../../benchmarks/scoring/score-row.ts';

const OWN_COLUMNS = new Set([
  'benchmark',
  'split',
  'model',
  'n',
  'score',
  'ci95',
  'clusters',
  'labels_sha256',
  'parse',
  'unparsed',
  'failed',
  'missing',
  'printed',
]);

/** Lines of the table. Figures beyond `width` follow in further blocks with the same splits. */
export function formatScoreTable(
  benchmark: string,
  rows: readonly ScoreRow[],
  width: number = Number.POSITIVE_INFINITY,
): string[] {
  const hasModel = rows.some((row) => row.model !== undefined);
  const counts = ['unparsed', 'failed', 'missing'].filter((name) => rows.some((row) => Number(row[name] ?? 0) > 0));
  const figures = [...new Set(rows.flatMap((row) => Object.keys(row)))].filter(
    (name) => !OWN_COLUMNS.has(name) && rows.some((row) => isShort(row[name])),
  );
  const header = ['split', ...(hasModel ? ['model'] : []), 'n', 'score', '95 % interval', ...counts, ...figures];
  const cells = rows.map((row) => [
    row.split,
    ...(hasModel ? [row.model ?? ''] : []),
    String(row.n),
    shortNumber(row.printed ?? row.score),
    intervalText(row.ci95),
    ...[...counts, ...figures].map((name) => shortCell(row[name])),
  ]);
  const reference = publishedLines(benchmark, rows);
  const notes = [...new Set(rows.map((row) => row.parse))].filter((parse) => parse !== undefined);
  return [
    `${benchmark}${notes.length > 0 ? ` (--parse ${notes.join(', ')})` : ''}`,
    ...columnBlocks([header, ...cells], { numFixed: hasModel ? 2 : 1, width }),
    ...(reference.length > 0 ? ['', 'published', ...reference] : []),
  ];
}

/** The papers' rows of the shown splits, with ours minus theirs: a column per model. */
function publishedLines(benchmark: string, rows: readonly ScoreRow[]): string[] {
  const models = [...new Set(rows.map((row) => row.model ?? ''))];
  const ours = new Map(rows.map((row) => [`${row.model ?? ''}\n${row.split}`, row.printed ?? row.score]));
  const shown = new Set(rows.map((row) => row.split));
  const published = benchmarks.get(benchmark)?.published ?? [];
  const missing = missingSplits(published, shown);
  const oursFor = (model: string, split: string) =>
    isOverall(split) && missing.length > 0 ? undefined : ours.get(`${model}\n${split}`);
  const lines = published.flatMap(({ method, source, scores }) =>
    Object.entries(scores)
      .filter(([split]) => shown.has(split) || isOverall(split))
      .map(([split, score]) => [
        ...[split, method, shortNumber(score)],
        ...models.map((model) => difference(oursFor(model, split), score)),
        source,
      ]),
  );
  const drawn = (benchmarks.get(benchmark)?.drawn ?? []).map(
    ({ source, shows }) => `${source} (${shows}) has no printed numbers`,
  );
  if (lines.length === 0) return drawn;
  const head = [
    'split',
    'method',
    'score',
    ...models.map((model) => (models.length > 1 ? `difference (${model})` : 'difference')),
    'source',
  ];
  const partial = missing.length > 0 ? [`the score over all splits lacks ${missing.join(', ')}: not compared`] : [];
  return [...alignColumns([head, ...lines], new Set([0, 1, head.length - 1])), ...partial, ...drawn];
}

/** Ours minus theirs, with its sign; '' where ours is undefined. */
export function difference(ours: unknown, published: number): string {
  if (typeof ours !== 'number') return '';
  const value = ours - published;
  return `${value < 0 ? '-' : '+'}${Math.abs(value).toFixed(Math.abs(published) < 10 ? 3 : 2)}`;
}

function isShort(value: unknown): boolean {
  return typeof value === 'number' || (typeof value === 'string' && value.length <= 40);
}

function shortCell(value: unknown): string {
  if (typeof value === 'number') return shortNumber(value);
  return typeof value === 'string' && value.length <= 40 ? value : '';
}

export function intervalText(ci95: unknown): string {
  return Array.isArray(ci95) ? `${shortNumber(ci95[0])} - ${shortNumber(ci95[1])}` : '';
}

export function shortNumber(value: unknown): string {
  if (typeof value !== 'number') return '-';
  if (Number.isInteger(value)) return String(value);
  return Math.abs(value) < 10 ? value.toFixed(3) : value.toFixed(2);
}

/** A table in blocks of at most `width` characters. Each block repeats the first columns and omits its empty rows. */
function columnBlocks(rows: readonly string[][], { numFixed, width }: { numFixed: number; width: number }): string[] {
  const widths = rows[0]!.map((_, column) => Math.max(...rows.map((row) => row[column]!.length)));
  const fixed = Array.from({ length: numFixed }, (_, column) => column);
  const widthOf = (columns: number[]) => columns.reduce((sum, column) => sum + widths[column]! + GAP, -GAP);
  const blocks: number[][] = [];
  for (let column = numFixed; column < widths.length; column++) {
    const last = blocks.at(-1);
    if (last !== undefined && widthOf([...fixed, ...last, column]) <= width) last.push(column);
    else blocks.push([column]);
  }
  return blocks.flatMap((columns, index) => {
    const shown = rows.filter((row) => index === 0 || columns.some((column) => row[column] !== ''));
    const cells = shown.map((row) => [...fixed, ...columns].map((column) => row[column]!));
    return [...(index === 0 ? [] : ['']), ...alignColumns(cells, new Set(fixed))];
  });
}

const GAP = 2;

/** Columns padded to their widest cell; those in `left` are left-aligned. */
export function alignColumns(rows: readonly string[][], left: ReadonlySet<number>): string[] {
  const widths = rows[0]!.map((_, column) => Math.max(...rows.map((row) => row[column]!.length)));
  return rows.map((row) =>
    row
      .map((cell, column) => (left.has(column) ? cell.padEnd(widths[column]!) : cell.padStart(widths[column]!)))
      .join(' '.repeat(GAP))
      .trimEnd(),
  );
}
