// SPDX-License-Identifier: Apache-2.0
// The cost of a run so far, earlier starts included up to their last checkpoints.

export interface Cost {
  /** Time from the first reference sum, evaluations and checkpoints included, model loading excluded. */
  seconds: number;
  steps: number;
  /** Trained records, repeats counted. */
  records: number;
  /** Decoder tokens of the steps, image tokens included. */
  tokens: number;
}

export class CostCount {
  readonly #started: number;
  readonly #now: () => number;
  #earlier: Cost = { seconds: 0, steps: 0, records: 0, tokens: 0 };

  /** `now`: in seconds. */
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
