// SPDX-License-Identifier: Apache-2.0
// Starts a run: what it is, whether it resumes, its memory, rows with their reference, and what happens between steps.

import { mkdir } from 'node:fs/promises';
import { saveCheckpoint, stateToResume } from './checkpoint.ts';
import { CollapseWatch } from './collapse.ts';
import { CostCount } from './cost.ts';
import { evaluate } from './evaluate.ts';
import { HeldOut } from './held-out.ts';
import { EvaluationHistory } from './history.ts';
import type { MeasuredRows } from './measure.ts';
import type { WarningRow } from './metrics.ts';
import { rowsOfRank, stepRows, trainingLength } from './order.ts';
import {
  checkpointToResume,
  checkSameRun,
  identityOf,
  type LoadRows,
  planSteps,
  type RunParts,
  rowLoader,
} from './prepare.ts';
import { identityDigest } from './run-identity.ts';
import { Samples } from './samples.ts';

/** A run between its start and its last step. */
export interface StartedRun extends RunParts {
  /** This rank's rows of a step (0-based), by number. */
  rowsOfStep(step: number): Uint32Array;
  load: LoadRows;
  save(): Promise<void>;
  stepsPerEpoch: number;
  /** Whether the first step's rewards must be 0. */
  startsAtReference: boolean;
  watch: CollapseWatch;
  costs: CostCount;
  heldOut: HeldOut | undefined;
  samples: Samples | undefined;
  /** Warning rows since the last row; `warn` adds one. */
  warnings: WarningRow[];
  warn(name: string, message: string): void;
}

/** Undefined after a stop. */
export async function startRun({ rows, sizes }: MeasuredRows, parts: RunParts): Promise<StartedRun | undefined> {
  const { trainer, needs, context, options } = parts;
  const { dir, settings, batchSize, shuffle, heldOut: held } = options;
  const { rank, numRanks } = trainer;
  const rowsOfAll = stepRows({ numRows: rows.length, batchSize, seed: settings.seed, shuffle });
  const rowsOfStep = (step: number) => rowsOfRank(rowsOfAll(step), rank, numRanks);
  if (rank === 0) await mkdir(dir, { recursive: true });
  const identity = await identityOf(rows, context, options);
  const digest = identityDigest(identity);
  await checkSameRun(trainer, digest);
  const from = await checkpointToResume(trainer, options);
  // Before the reference, which takes long and whose file belongs to the run in this directory.
  const resumed = from === undefined ? undefined : await stateToResume(from, trainer, identity);
  await planSteps(sizes, rowsOfStep, trainer, options);

  // Before restoring: the reference is the model as the run first saw it.
  const load = await rowLoader(rows, 'reference.ndjson', digest, parts);
  const loadHeldOut = load && held && (await rowLoader(held.rows, 'reference-eval.ndjson', digest, parts));
  if (load === undefined || (held !== undefined && loadHeldOut === undefined)) return undefined;
  const { stepsPerEpoch } = trainingLength(rows.length, batchSize, 1);
  const warnings: WarningRow[] = [];
  const warn = (name: string, message: string) => {
    if (rank === 0) options.warn(`${name}: ${message}`);
    warnings.push({ step: trainer.stepsDone, warning: name, message });
  };
  const heldOut = loadHeldOut && heldOutOf(parts, loadHeldOut, stepsPerEpoch, warn);
  const samples = samplesOf(parts, stepsPerEpoch);
  const costs = new CostCount();
  if (from !== undefined && resumed !== undefined) {
    await trainer.restore(from);
    const { history, cost } = resumed;
    if (cost !== undefined) costs.restore(cost);
    if (history !== undefined) heldOut?.history.restore(history);
    options.note(`resuming after step ${trainer.stepsDone} (${from})`);
  }
  await samples?.start(trainer, trainer.stepsDone, from === undefined);
  options.onStart?.(trainer.stepsDone, from !== undefined && (heldOut?.history.has(trainer.stepsDone) ?? true));
  if (options.saveGradients !== undefined) {
    await trainer.saveGradients(await load(rowsOfStep(trainer.stepsDone)), options.saveGradients);
    options.note(`gradients of step ${trainer.stepsDone + 1} are in ${options.saveGradients}`);
  }

  let saved = trainer.stepsDone;
  const save = async () => {
    if (saved === trainer.stepsDone) return;
    const state = { run: identity, history: heldOut?.history.state, cost: costs.cost };
    await saveCheckpoint(dir, trainer, state, options.keepCheckpoints);
    if (rank === 0) await heldOut?.prune();
    saved = trainer.stepsDone;
  };
  const startsAtReference = needs.reference && options.startsAtReference && trainer.stepsDone === 0;
  const watch = new CollapseWatch();
  const between = { watch, costs, heldOut, samples, warnings, warn };
  return { ...parts, rowsOfStep, load, save, stepsPerEpoch, startsAtReference, ...between };
}

function heldOutOf(
  { trainer, needs, options, isStopped }: RunParts,
  load: LoadRows,
  stepsPerEpoch: number,
  warn: StartedRun['warn'],
): HeldOut {
  const { dir, settings, batchSize } = options;
  const { rows, every, metric, patience } = options.heldOut!;
  const evaluation = {
    numRows: rows.length,
    load,
    needs,
    beta: settings.lossOptions.beta,
    batch: batchSize,
    isStopped: async () => (await isStopped()) > 0,
  };
  return new HeldOut(new EvaluationHistory(metric ?? 'eval/loss', patience), {
    dir,
    every: every ?? stepsPerEpoch,
    totalSteps: settings.totalSteps,
    stepsPerEpoch,
    keepsBest: metric !== undefined || patience > 0,
    numRows: rows.length,
    evaluate: () => evaluate(trainer, evaluation),
    warn,
  });
}

function samplesOf({ context, options, isStopped }: RunParts, stepsPerEpoch: number): Samples | undefined {
  const { dir, settings, samples } = options;
  if (samples === undefined) return undefined;
  return new Samples({
    dir,
    rows: samples.rows,
    every: samples.every ?? stepsPerEpoch,
    totalSteps: settings.totalSteps,
    seed: settings.seed,
    context,
    isStopped: async () => (await isStopped()) > 0,
  });
}
