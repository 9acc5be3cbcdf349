// SPDX-License-Identifier: Apache-2.0
// The evaluations of a run: the best one, early stopping, and overfitting (held-out rows get worse while training improves).
// Its state is a plain object in the checkpoints, so a resumed run decides as an uninterrupted one.

/** Whether a higher or a lower value of a metric is better. A tie is not an improvement. */
export const metricDirections = {
  'eval/loss': 'lower',
  'eval/rewards/accuracies': 'higher',
  'eval/rewards/margins': 'higher',
  'eval/rewards/chosen': 'higher',
  'eval/rewards/rejected': 'lower',
  'eval/logps/chosen': 'higher',
  'eval/logps/rejected': 'lower',
} as const;

export type EvalMetric = keyof typeof metricDirections;

/** Metrics of the held-out rows; those of rejected responses only if the loss has them. */
export type EvalMetrics = { 'eval/loss': number } & Partial<Record<EvalMetric, number>>;

export interface Evaluated {
  step: number;
  /** Value of the deciding metric. */
  value: number;
  /** Reward accuracy of the held-out rows. */
  accuracy?: number | undefined;
  /** Mean reward accuracy of the steps since the previous evaluation. */
  training?: number | undefined;
}

export interface HistoryState {
  evaluations: Evaluated[];
  /** Reward accuracies of the steps since the last evaluation. */
  sum: number;
  steps: number;
}

export class EvaluationHistory {
  readonly metric: EvalMetric;
  readonly #patience: number;
  #state: HistoryState = { evaluations: [], sum: 0, steps: 0 };

  /** `patience`: evaluations without improvement after which the run ends; 0: never. */
  constructor(metric: EvalMetric, patience: number) {
    this.metric = metric;
    this.#patience = patience;
  }

  get state(): HistoryState {
    return structuredClone(this.#state);
  }

  restore(state: HistoryState): void {
    this.#state = structuredClone(state);
  }

  /** A step of training. */
  stepped(accuracy: number | undefined): void {
    if (accuracy === undefined) return;
    this.#state.sum += accuracy;
    this.#state.steps += 1;
  }

  /** Takes an evaluation; returns true if it is the best so far. */
  add(step: number, metrics: EvalMetrics): boolean {
    const { evaluations, sum, steps } = this.#state;
    const training = steps === 0 ? undefined : sum / steps;
    const accuracy = metrics['eval/rewards/accuracies'];
    evaluations.push({ step, value: metrics[this.metric]!, accuracy, training });
    this.#state = { evaluations, sum: 0, steps: 0 };
    return this.best?.step === step;
  }

  has(step: number): boolean {
    return this.#state.evaluations.some((one) => one.step === step);
  }

  /** The best evaluation; the first of equals. */
  get best(): Evaluated | undefined {
    const isBetter = (a: number, b: number) => (metricDirections[this.metric] === 'lower' ? a < b : a > b);
    const [first, ...others] = this.#state.evaluations;
    return first && others.reduce((best, one) => (isBetter(one.value, best.value) ? one : best), first);
  }

  /** Whether the last `patience` evaluations brought no improvement. */
  get isOver(): boolean {
    const { evaluations } = this.#state;
    const last = evaluations.findIndex(({ step }) => step === this.best?.step);
    return this.#patience > 0 && evaluations.length - 1 - last >= this.#patience;
  }

  /** Whether the accuracy on `numRows` held-out rows fell in two successive evaluations, in sum by more than one standard error, while training's rose. */
  isWorse(numRows: number): boolean {
    const [first, second, third] = this.#state.evaluations.slice(-3);
    if (third?.accuracy === undefined || third.training === undefined || second?.training === undefined) return false;
    const [before, between, now] = [first!.accuracy!, second.accuracy!, third.accuracy];
    const error = Math.sqrt((before * (1 - before)) / numRows);
    return before > between && between > now && before - now > error && third.training > second.training;
  }
}
