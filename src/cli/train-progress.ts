// SPDX-License-Identifier: Apache-2.0
// The progress line of a training run.
import type { TrainProgress } from '../stages/train/options.ts';
import { formatRate, formatSeconds, group, type ProgressState } from './progress.ts';

/** Keeps the last reported state, and the start of its phase. */
export class TrainProgressLine {
  #last: TrainProgress | undefined;
  #first: { done: number; seconds: number } | undefined;
  readonly #now: () => number;

  /** `now`: seconds. */
  constructor(now: () => number = () => performance.now() / 1000) {
    this.#now = now;
  }

  update(progress: TrainProgress): void {
    if (this.#last?.phase !== progress.phase) this.#first = { done: progress.done, seconds: this.#now() };
    this.#last = progress;
  }

  /** "step 12/25", "1:20 left", "loss 0.652", "accuracy 0.78", "margin 0.21", "3.2 rows/s" */
  state(): ProgressState {
    const progress = this.#last;
    if (progress === undefined) return { parts: ['loading'] };
    const { phase, done, total } = progress;
    const parts = [`${phase === 'steps' ? 'step' : 'reference'} ${group(done)}/${group(total)}`];
    const since = this.#now() - this.#first!.seconds;
    const advanced = done - this.#first!.done;
    if (advanced > 0 && done < total) parts.push(`${formatSeconds((since / advanced) * (total - done))} left`);
    if (phase === 'steps') {
      const { row } = progress;
      parts.push(`loss ${row.loss.toPrecision(3)}`);
      const [accuracy, margin] = [row['rewards/accuracies'], row['rewards/margins']];
      if (accuracy !== undefined) parts.push(`accuracy ${accuracy.toFixed(2)}`);
      if (margin !== undefined) parts.push(`margin ${margin.toPrecision(2)}`);
      parts.push(`${formatRate(row.pairs_per_second)} rows/s`);
    }
    return { share: total === 0 ? undefined : done / total, parts };
  }
}
