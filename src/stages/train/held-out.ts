// SPDX-License-Identifier: Apache-2.0
// Held-out evaluation of a run: its schedule, the adapter of the best evaluation, its metric rows.
import { cp, mkdir, readdir, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { TrainerEngine } from '../../engine/train-requests.ts';
import type { EvalMetrics, EvaluationHistory } from './history.ts';
import type { EndRow, EvalRow } from './metrics.ts';

export interface HeldOutOptions {
  /** Output directory of the run. */
  dir: string;
  /** Steps between two evaluations; also evaluates before the first and after the last step. */
  every: number;
  totalSteps: number;
  stepsPerEpoch: number;
  /** Whether the run's result is the best state instead of the last. */
  keepsBest: boolean;
  numRows: number;
  /** Undefined if the run was stopped meanwhile. */
  evaluate(): Promise<EvalMetrics | undefined>;
  warn(name: string, message: string): void;
}

const BEST = /^best-(\d+)(?:\.partial)?$/;

export class HeldOut {
  readonly history: EvaluationHistory;
  readonly #options: HeldOutOptions;

  constructor(history: EvaluationHistory, options: HeldOutOptions) {
    this.history = history;
    this.#options = options;
  }

  isDue(step: number): boolean {
    const { every, totalSteps } = this.#options;
    return (step % every === 0 || step === totalSteps) && !this.history.has(step) && !this.history.isOver;
  }

  /** Evaluates the current state of `trainer`; undefined if the run was stopped meanwhile. */
  async run(trainer: TrainerEngine): Promise<EvalRow | undefined> {
    const { dir, stepsPerEpoch, keepsBest, numRows, evaluate, warn } = this.#options;
    const started = performance.now();
    const metrics = await evaluate();
    if (metrics === undefined) return undefined;
    const step = trainer.stepsDone;
    const isBest = this.history.add(step, metrics);
    if (isBest && keepsBest) await saveBest(dir, step, trainer);
    if (this.history.isWorse(numRows))
      warn(
        'eval-worse',
        "the held-out accuracy falls while training's rises: the model overfits its pairs; stop earlier (--early-stop, --keep-best), lower --lr or --epochs, or add pairs",
      );
    const seconds = (performance.now() - started) / 1000;
    return {
      step,
      epoch: step / stepsPerEpoch,
      ...metrics,
      'eval/best_step': this.history.best!.step,
      'eval/seconds': seconds,
    };
  }

  /** At the end of the run, copies the best state to the top of the directory. Returns whether it did. */
  async finish(trainer: TrainerEngine): Promise<boolean> {
    const { dir, keepsBest } = this.#options;
    if (!keepsBest) return false;
    if (trainer.rank === 0) await cp(bestDir(dir, this.history.best!.step), dir, { recursive: true });
    return true;
  }

  endRow(step: number): EndRow {
    const { keepsBest } = this.#options;
    const { best, metric, isOver } = this.history;
    return {
      step,
      stop_reason: isOver ? 'early-stop' : 'last-step',
      best_step: best!.step,
      best_metric: metric,
      best_value: best!.value,
      kept_step: keepsBest ? best!.step : step,
    };
  }

  /** After a checkpoint, deletes states that are no longer the best, or belong to steps before a resume. */
  async prune(): Promise<void> {
    const { dir } = this.#options;
    const best = this.history.best?.step;
    for (const name of await readdir(dir)) {
      const match = BEST.exec(name);
      if (match !== null && Number(match[1]) !== best) await rm(join(dir, name), { recursive: true });
    }
  }
}

function bestDir(dir: string, step: number): string {
  return join(dir, `best-${String(step).padStart(6, '0')}`);
}

async function saveBest(dir: string, step: number, trainer: TrainerEngine): Promise<void> {
  const final = bestDir(dir, step);
  const partial = `${final}.partial`;
  if (trainer.rank === 0) {
    await rm(partial, { recursive: true, force: true });
    await mkdir(partial, { recursive: true });
  }
  await trainer.save(partial, { state: false });
  if (trainer.rank !== 0) return;
  await rm(final, { recursive: true, force: true });
  await rename(partial, final);
}
