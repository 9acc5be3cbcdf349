// SPDX-License-Identifier: Apache-2.0
// The evaluations of a run: which was the best, whether it is time to stop, whether the held-out rows get worse while training gets better.
// A plain object goes into the checkpoints, so that a resumed run decides as the straight one.

/** Which way a metric is better: the one table. A tie is no gain. */
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

/** Metrics of the held-out rows; those of rejected responses only where a loss has them. */
export type EvalMetrics = { 'eval/loss': number } & Partial<Record<EvalMetric, number>>;

export interface Evaluated {
  step: number;
  /** Of the metric that decides. */
  value: number;
  /** Reward accuracy of the held-out rows. */
  accuracy?: number | undefined;
  /** Mean reward accuracy of the steps since the evaluation before. */
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

  /** `patience`: evaluations without gain after which the run ends; 0: never. */
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

  /** Takes an evaluation; true when it is the best so far. */
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

  /** The first of the best. */
  get best(): Evaluated | undefined {
    const isBetter = (a: number, b: number) => (metricDirections[this.metric] === 'lower' ? a < b : a > b);
    const [first, ...others] = this.#state.evaluations;
    return first && others.reduce((best, one) => (isBetter(one.value, best.value) ? one : best), first);
  }

  /** Whether the last evaluations brought no gain, as many as the run waits for. */
  get isOver(): boolean {
    const { evaluations } = this.#state;
    const last = evaluations.findIndex(({ step }) => step === this.best?.step);
    return this.#patience > 0 && evaluations.length - 1 - last >= this.#patience;
  }

  /** Two evaluations in a row with a lower accuracy on `numRows` held-out rows, together beyond one standard error, while training's rose. */
  isWorse(numRows: number): boolean {
    const [first, second, third] = this.#state.evaluations.slice(-3);
    if (third?.accuracy === undefined || third.training === undefined || second?.training === undefined) return false;
    const [before, between, now] = [first!.accuracy!, second.accuracy!, third.accuracy];
    const error = Math.sqrt((before * (1 - before)) / numRows);
    return before > between && between > now && before - now > error && third.training > second.training;
  }
}
