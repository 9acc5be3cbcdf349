// SPDX-License-Identifier: Apache-2.0
// What a run cost so far, its earlier, resumed starts included up to their last checkpoints.

export interface Cost {
  /** From before the first reference sum on, evaluations and checkpoints included; loading the model is not. */
  seconds: number;
  steps: number;
  /** Records that were learnt from, each as often as it was. */
  records: number;
  /** Decoder rows of the steps, image rows included. */
  tokens: number;
}

export class CostCount {
  readonly #started: number;
  readonly #now: () => number;
  #earlier: Cost = { seconds: 0, steps: 0, records: 0, tokens: 0 };

  /** `now`: seconds. */
  constructor(now: () => number = () => performance.now() / 1000) {
    this.#now = now;
    this.#started = now();
  }

  restore(earlier: Cost): void {
    this.#earlier = { ...earlier };
  }

  step(records: number, tokens: number): void {
    const { seconds, ...counts } = this.#earlier;
    this.#earlier = {
      seconds,
      steps: counts.steps + 1,
      records: counts.records + records,
      tokens: counts.tokens + tokens,
    };
  }

  get cost(): Cost {
    const { seconds, ...counts } = this.#earlier;
    return { seconds: seconds + this.#now() - this.#started, ...counts };
  }
}
