// SPDX-License-Identifier: Apache-2.0
// Runs one `eval` from paths to rows: reads the files, finds the scorer, or compares two runs.

import { benchmarks } from '../../benchmarks/by-name.ts';
import { isRecord } from '../../benchmarks/scoring/answers.ts';
import { type EvalFile, parseEvalFile } from '../../benchmarks/scoring/file.ts';
import type { EvalInput, EvalOptions, Evaluation, ScoreRow } from '../../benchmarks/scoring/score-row.ts';
import { RecordError, UsageError } from '../../records/error.ts';
import { describeValue, isObject, type Place } from '../../records/field.ts';
import { parseRecord } from '../../records/parse-record.ts';
import { comparedRuns, compareRuns } from './compare.ts';
import { type GateInput, type GateRow, gate, parseRequirement } from './gate.ts';
import { besidePublished, type PublishedResult } from './published.ts';

export interface EvalSettings extends EvalOptions {
  /** Name in `benchmarks`, or "compare". */
  benchmark: string;
  /** Paths; "-" is stdin. */
  answers: string[];
  labels: string[];
  questions: string[];
  tables: string[];
  /** compare: the benchmark that scores both runs; default: the records' source. */
  on?: string | undefined;
  test?: 'exact' | 'bootstrap' | undefined;
  read(path: string): Promise<Buffer>;
}

/** All names that `eval` knows. */
export const benchmarkNames = [...benchmarks.keys(), 'compare', 'gate', 'published'];

export interface GateSettings extends Pick<EvalSettings, 'read'> {
  /** Paths of score rows. */
  answers: string[];
  /** NAME=ROWS; files with the same name are concatenated. */
  baselines: readonly string[];
  requirements: readonly string[];
}

/** The paths of NAME=ROWS by name. Throws UsageError for another form. */
export function baselinePaths(baselines: readonly string[]): Map<string, string[]> {
  const paths = new Map<string, string[]>();
  for (const baseline of baselines) {
    const [, name, path] = /^([^\s=]+)=(.+)$/s.exec(baseline) ?? [];
    if (name === undefined) throw new UsageError(`--baseline: expected NAME=ROWS, got ${JSON.stringify(baseline)}`);
    paths.set(name, [...(paths.get(name) ?? []), path!]);
  }
  return paths;
}

/** The result of each requirement, over the score rows of these files. */
export async function gateFiles({ answers, baselines, requirements, read }: GateSettings): Promise<GateRow[]> {
  if (requirements.length === 0)
    throw new UsageError("gate: expected --require 'BENCHMARK[.SPLIT].FIELD OP NUMBER [from NAME]', got none");
  const parsed = requirements.map(parseRequirement);
  const load = async (paths: string[]) => (await loadScores(paths, read)).map(({ value }) => value);
  const named = [...baselinePaths(baselines)].map(async ([name, paths]) => [name, await load(paths)] as const);
  return gate(await load(answers), parsed, new Map(await Promise.all(named)));
}

/** Score rows of these files, with the papers' figures. */
export async function publishedFiles({
  answers,
  read,
}: Pick<GateSettings, 'answers' | 'read'>): Promise<PublishedResult> {
  return besidePublished(await loadScores(answers, read));
}

async function loadScores(paths: readonly string[], read: GateSettings['read']) {
  return (await Promise.all(paths.map((path) => scoreRows(path, read)))).flat();
}

async function scoreRows(path: string, read: GateSettings['read']): Promise<{ value: GateInput; at: Place }[]> {
  const file = await loadFile(path, read);
  if (file.rows.length === 0) throw new UsageError(emptyFile(file.path, false));
  return file.rows.map(({ value, at }) => {
    for (const field of ['benchmark', 'split'])
      if (typeof value[field] !== 'string')
        throw new RecordError(at, field, 'a name (rows that eval wrote)', describeValue(value[field]));
    return { value: value as GateInput, at };
  });
}

export async function evaluateFiles(settings: EvalSettings): Promise<Evaluation> {
  const load = (paths: string[]) => Promise.all(paths.map((path) => loadFile(path, settings.read)));
  const [answers, labels, questions, tables] = await Promise.all([
    load(settings.answers),
    load(settings.labels),
    load(settings.questions),
    load(settings.tables),
  ]);
  for (const file of [...answers, ...labels])
    if (file.rows.length === 0) throw new UsageError(emptyFile(file.path, settings.labels.length > 0));
  // Rows of benchmark files are checked by their scorers, field by field.
  for (const { value, at } of answers.flatMap((file) => file.rows)) if (isRecord(value)) parseRecord(value, at);
  const input = { answers, labels, questions, tables, options: settings };
  if (settings.benchmark === 'compare') return compareFiles(input, settings);
  return benchmarks.get(settings.benchmark)!.score(input);
}

// `--labels FILE... ANSWERS` takes ANSWERS as another label file, then waits for stdin.
function emptyFile(path: string, hasLabels: boolean): string {
  const hint =
    path === 'stdin' && hasLabels ? ' (ANSWERS stand before --labels, which takes every file that follows)' : '';
  return `${path}: expected rows, got an empty file${hint}`;
}

async function loadFile(path: string, read: EvalSettings['read']): Promise<EvalFile> {
  return parseEvalFile(path === '-' ? 'stdin' : path, await read(path));
}

function compareFiles(input: EvalInput, settings: EvalSettings): Evaluation {
  const benchmark = settings.on ?? benchmarkOf(input.answers);
  const scorer = benchmark === undefined ? undefined : benchmarks.get(benchmark)?.score;
  if (benchmark === undefined || scorer === undefined)
    throw new UsageError(
      `--on: expected the benchmark that scores both runs (${[...benchmarks.keys()].join(', ')}), got ${settings.on === undefined ? 'nothing' : JSON.stringify(settings.on)}`,
    );
  if (input.answers.length > 2) throw new UsageError(`compare: expected one or two files, got ${input.answers.length}`);
  const evaluations = input.answers.map((file) => ({
    path: file.path,
    evaluation: scorer({ ...input, answers: [file] }),
  }));
  const notes = evaluations.flatMap(({ evaluation }) => evaluation.notes);
  const runs = comparedRuns(evaluations);
  // Questions that share an image are not independent, so only the bootstrap by image is valid.
  const clusters = new Set(runs[0].items.map((item) => item.cluster)).size;
  const test = settings.test ?? (clusters < runs[0].items.length ? 'bootstrap' : 'exact');
  const rows = compareRuns(runs, { ...settings, benchmark, test }, notes);
  const failed = evaluations.reduce((sum, { evaluation }) => sum + evaluation.failed, 0);
  return { rows, items: [], notes, failed };
}

function benchmarkOf(files: readonly EvalFile[]): string | undefined {
  const [first] = files.flatMap((file) => file.rows);
  const source = isObject(first?.value) ? first.value.source : undefined;
  const name = typeof source === 'string' ? source.split('/')[0]! : '';
  return benchmarks.has(name) ? name : undefined;
}

/** Share of failed answers and judge calls, over the rows of all splits. */
export function failedShare({ rows, failed }: Evaluation): number {
  const scored = rows.filter((row: ScoreRow) => row.split === 'all').reduce((sum, row) => sum + row.n, 0);
  return failed === 0 ? 0 : failed / (failed + scored);
}
