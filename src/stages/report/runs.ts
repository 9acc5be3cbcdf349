// SPDX-License-Identifier: Apache-2.0
// Table of runs: settings that differ, final and best metrics, cost, scores. One row per run, from metric rows, train's --summary, score and gate rows.
import { isObject } from '../../records/field.ts';
import type { Training } from './curves.ts';
import type { JsonObject, RunColumn, RunTable, RunValue, ScoreLine } from './data.ts';
import { intervalOf } from './scores.ts';

/** Maximum runs in the table. */
const MAX_RUNS = 500;

interface Gate {
  failed: string[];
}

/** The data of a run. */
interface Run {
  name: string;
  training?: Training;
  summary?: JsonObject;
  gate?: Gate;
  /** Scores by benchmark and part, such as "hallucination (short)". */
  scores: Map<string, ScoreLine[]>;
}

export class RunSection {
  readonly #summaries = new Map<string, JsonObject>();
  readonly #gates = new Map<string, Gate>();

  take(run: string, row: JsonObject): boolean {
    if (typeof row.require === 'string' && typeof row.pass === 'boolean') {
      const gate = this.#gates.get(run) ?? { failed: [] };
      if (!row.pass) gate.failed.push(row.require);
      this.#gates.set(run, gate);
      return true;
    }
    if (row.summary !== 'train' || typeof row.steps !== 'number') return false;
    // Summaries of several runs in one file have no other name, so add a number.
    let name = run;
    for (let number = 2; this.#summaries.has(name); number++) name = `${run} (${number})`;
    this.#summaries.set(name, row);
    return true;
  }

  table(trainings: readonly Training[], scores: readonly ScoreLine[]): RunTable {
    const runs = new Map<string, Run>();
    const runOf = (name: string): Run => {
      const run: Run = runs.get(name) ?? { name, scores: new Map() };
      runs.set(name, run);
      return run;
    };
    for (const training of trainings) runOf(training.name).training = training;
    for (const [name, summary] of this.#summaries) runOf(name).summary = summary;
    const trained = new Set(runs.keys());
    for (const [name, gate] of this.#gates) runOf(name).gate = gate;
    const homes = scoreHomes(trained, scores);
    for (const line of scores) {
      if (line.split !== 'all') continue;
      const { name, part } = homes.get(line.run)!;
      const key = part === '' || part === line.benchmark ? line.benchmark : `${line.benchmark} (${part})`;
      const known = runOf(name).scores;
      const lines = known.get(key) ?? [];
      lines.push(line);
      known.set(key, lines);
    }
    // Untrained models come first, as the baseline of the others.
    const isBase = ({ training, summary, gate }: Run) =>
      training === undefined && summary === undefined && gate === undefined;
    const sorted = [...runs.values()].sort((a, b) => Number(isBase(b)) - Number(isBase(a)));
    return tableOf(sorted, trained.size + this.#gates.size > 0);
  }
}

/** The run of a file's scores: seva.short is the part "short" of seva, and before.short that of before, an untrained model. */
function scoreHomes(trained: ReadonlySet<string>, scores: readonly ScoreLine[]) {
  const files = new Set(scores.map(({ run }) => run));
  const split = (file: string) => {
    const name = [...trained].find((one) => file.startsWith(`${one}.`));
    return name === undefined ? undefined : { name, part: file.slice(name.length + 1) };
  };
  const parts = new Set([...files].flatMap((file) => split(file)?.part ?? []));
  const home = (file: string): { name: string; part: string } => {
    if (trained.has(file)) return { name: file, part: '' };
    const known = split(file);
    if (known !== undefined) return known;
    const part = [...parts].find((one) => file.endsWith(`.${one}`)) ?? '';
    return { name: part === '' ? file : file.slice(0, -part.length - 1), part };
  };
  return new Map([...files].map((file) => [file, home(file)]));
}

function tableOf(all: readonly Run[], hasTraining: boolean): RunTable {
  const runs = all.slice(0, MAX_RUNS);
  const { columns: settings, shared } = settingColumns(runs);
  const columns = [
    ...settings.filter(({ group }) => group === 'Settings'),
    ...trainingColumns(runs),
    ...heldOutColumns(runs),
    ...scoreColumns(runs),
    ...costColumns(runs),
    ...settings.filter(({ group }) => group === 'Watching'),
  ].filter(({ values }) => values.some((value) => value !== null));
  const isCompared = hasTraining || columns.some(({ values }) => values.filter((value) => value !== null).length > 1);
  if (!isCompared) return { names: [], columns: [], shared: [], numLeftOut: 0 };
  const kept = runs.map((_, index) => columns.some(({ values }) => values[index] !== null));
  const ofKept = <T>(values: readonly T[]) => values.filter((_, index) => kept[index]);
  return {
    names: ofKept(runs.map(({ name }) => name)),
    columns: columns.map((column) => ({ ...column, values: ofKept(column.values) })),
    shared,
    numLeftOut: all.length - runs.length,
  };
}

/** Settings that change what a run prints and not what it learns: last columns. */
const WATCHING = new Set(['eval', 'eval-every', 'sample-every', 'sample-prompts', 'save-every']);

/** Settings that differ between runs, and those that all runs with settings share. */
function settingColumns(runs: readonly Run[]): { columns: RunColumn[]; shared: [string, string][] } {
  const settings = runs.map(({ summary }) =>
    isObject(summary?.settings) ? (summary.settings as JsonObject) : undefined,
  );
  const known = settings.filter((one) => one !== undefined);
  const names = new Set(known.flatMap((one) => Object.keys(one)).filter((name) => name !== 'command'));
  const columns: RunColumn[] = [];
  const shared: [string, string][] = [];
  for (const name of names) {
    const texts = new Set(known.map((one) => settingText(one[name])));
    const [text] = texts;
    if (texts.size === 1 && text !== '') shared.push([name, text!]);
    if (texts.size < 2) continue;
    const values = settings.map((one) => {
      const value = one?.[name];
      return typeof value === 'number' ? value : settingText(value) || null;
    });
    columns.push({ group: WATCHING.has(name) ? 'Watching' : 'Settings', title: name, values });
  }
  return { columns, shared };
}

function settingText(value: unknown): string {
  if (value === undefined || (isObject(value) && Object.keys(value).length === 0)) return '';
  return typeof value === 'string' ? value : JSON.stringify(value);
}

function trainingColumns(runs: readonly Run[]): RunColumn[] {
  const column = (title: string, value: (run: Run) => RunValue): RunColumn => ({
    group: 'Training',
    title,
    values: runs.map(value),
  });
  const last = (metric: string) => (run: Run) => lastOf(run, metric);
  return [
    column('steps', ({ training, summary }) => numberOf(summary?.steps) ?? numberOf(training?.rows.at(-1)?.step)),
    column('ended by', ({ training, summary }) => textOf(training?.end?.stop_reason ?? summary?.stop_reason)),
    column('warnings', ({ training }) =>
      training?.marks.length ? training.marks.map(({ name }) => name).join(', ') : null,
    ),
    column('loss, last', last('loss')),
    column('accuracy, last', last('rewards/accuracies')),
    column('margin, last', last('rewards/margins')),
    column('gate', ({ gate }) =>
      gate === undefined ? null : gate.failed.length === 0 ? 'passed' : `failed: ${gate.failed.join('; ')}`,
    ),
  ];
}

/** The best evaluation of each run by its own metric: from its last row, or from its rows so far if it has not ended. */
function heldOutColumns(runs: readonly Run[]): RunColumn[] {
  const best = runs.map(({ training, summary }) => {
    const end = training?.end ?? summary;
    const settings = isObject(summary?.settings) ? (summary.settings as JsonObject) : {};
    const metric = textOf(end?.best_metric) ?? textOf(settings['keep-best']) ?? 'eval/loss';
    const step = numberOf(end?.best_step) ?? lastOf({ training }, 'eval/best_step');
    const row = training?.rows.find((one) => one.step === step);
    return { metric, step, value: numberOf(end?.best_value) ?? numberOf(row?.[metric]) };
  });
  const group = 'Held out' as const;
  const metrics = [...new Set(best.filter(({ step }) => step !== null).map(({ metric }) => metric))];
  return [
    { group, title: 'loss, last', values: runs.map((run) => lastOf(run, 'eval/loss')) },
    { group, title: 'accuracy, last', values: runs.map((run) => lastOf(run, 'eval/rewards/accuracies')) },
    ...metrics.map((metric) => ({
      group,
      title: `${metric.replace(/^eval\//, '')}, best`,
      values: best.map((one) => (one.metric === metric ? one.value : null)),
    })),
    { group, title: 'best step', values: best.map(({ step }) => step) },
    {
      group,
      title: 'kept step',
      values: runs.map(({ training, summary }) => numberOf((training?.end ?? summary)?.kept_step)),
    },
  ];
}

function costColumns(runs: readonly Run[]): RunColumn[] {
  const column = (title: string, name: string, unit?: RunColumn['unit']): RunColumn => ({
    group: 'Cost',
    title,
    ...(unit && { unit }),
    values: runs.map(({ summary }) => numberOf(summary?.[name])),
  });
  return [
    column('time', 'seconds', 'seconds'),
    column('GPU-hours', 'gpu_hours'),
    ...(runs.some(({ summary }) => (numberOf(summary?.ranks) ?? 1) > 1) ? [column('ranks', 'ranks')] : []),
    column('records learnt', 'records_learnt'),
    column('tokens', 'tokens'),
    column('peak memory', 'peak_memory_bytes', 'bytes'),
  ];
}

/** The headline score of each benchmark, if a run has one. */
function scoreColumns(runs: readonly Run[]): RunColumn[] {
  const keys = new Set(runs.flatMap(({ scores }) => [...scores.keys()]));
  return [...keys].map((key) => ({
    group: 'Scores',
    title: key,
    values: runs.map(({ scores }) => {
      const [line, ...others] = scores.get(key) ?? [];
      // A file with several models or sweep cells is not the score of one run.
      if (line === undefined || others.length > 0 || typeof line.score !== 'number') return null;
      const interval = intervalOf(line);
      return interval === undefined ? line.score : { value: line.score, interval };
    }),
  }));
}

function lastOf(
  { training }: Pick<Run, 'training'> | { training: Training | undefined },
  metric: string,
): number | null {
  return numberOf(training?.rows.findLast((row) => typeof row[metric] === 'number')?.[metric]);
}

function numberOf(value: unknown): number | null {
  return typeof value === 'number' ? value : null;
}

function textOf(value: unknown): string | null {
  return typeof value === 'string' ? value : null;
}
