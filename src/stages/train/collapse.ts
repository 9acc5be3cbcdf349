// SPDX-License-Identifier: Apache-2.0
// Warnings of a failing preference run, with the names of man vpref-train, WARNINGS. Each is raised once per run.

/** The figures of one pair in a step. */
export interface PairReward {
  chosenReward: number;
  rejectedReward: number;
  numChosenTokens: number;
  numRejectedTokens: number;
}

export interface CollapseWarning {
  name: 'chosen-reward-falling' | 'length-drift' | 'margin-saturation';
  message: string;
}

/** Pairs per check: enough for stable means at batch 16 and above. */
const WINDOW = 256;
/** At this chosen reward, a response has lost 1/beta nats against the reference. */
const CHOSEN_REWARD_FLOOR = -1;
/** Minimum correlation of margin and length difference at which length explains most of the margin (r^2 > 0.64). */
const LENGTH_CORRELATION = 0.8;
/** sigmoid(-6) = 0.0025: the gradient of a pair beyond this margin is nearly zero. */
const SATURATED_MARGIN = 6;

/** Watches the pairs of a run. */
export class CollapseWatch {
  #recent: PairReward[] = [];
  #raised = new Set<string>();

  /** Takes a step's pairs and returns new warnings. */
  observe(pairs: readonly PairReward[]): CollapseWarning[] {
    this.#recent.push(...pairs);
    if (this.#recent.length > WINDOW) this.#recent.splice(0, this.#recent.length - WINDOW);
    if (this.#recent.length < WINDOW) return [];
    const found = [chosenFalling(this.#recent), lengthDrift(this.#recent), marginSaturation(this.#recent)];
    return found.filter((warning): warning is CollapseWarning => {
      if (warning === undefined || this.#raised.has(warning.name)) return false;
      this.#raised.add(warning.name);
      return true;
    });
  }
}

function mean(pairs: readonly PairReward[], of: (pair: PairReward) => number): number {
  return pairs.reduce((sum, pair) => sum + of(pair), 0) / pairs.length;
}

function chosenFalling(pairs: readonly PairReward[]): CollapseWarning | undefined {
  const older = pairs.slice(0, WINDOW / 2);
  const newer = pairs.slice(WINDOW / 2);
  const chosen = mean(newer, (pair) => pair.chosenReward);
  const falling =
    chosen < CHOSEN_REWARD_FLOOR &&
    chosen < mean(older, (pair) => pair.chosenReward) &&
    mean(newer, (pair) => pair.rejectedReward) < mean(older, (pair) => pair.rejectedReward);
  if (!falling) return undefined;
  return {
    name: 'chosen-reward-falling',
    message: `the chosen responses lose probability with the rejected ones (reward ${chosen.toFixed(2)}); lower --lr, raise --beta, or add sft to --loss`,
  };
}

function lengthDrift(pairs: readonly PairReward[]): CollapseWarning | undefined {
  const r = correlation(
    pairs.map((pair) => pair.chosenReward - pair.rejectedReward),
    pairs.map((pair) => pair.numChosenTokens - pair.numRejectedTokens),
  );
  if (Math.abs(r) < LENGTH_CORRELATION) return undefined;
  const direction = r > 0 ? 'longer' : 'shorter';
  return {
    name: 'length-drift',
    message: `the reward margin follows the length difference (r = ${r.toFixed(2)}); the policy is learning to answer ${direction}; balance lengths in pair, or use simpo or ipo-token-mean`,
  };
}

function marginSaturation(pairs: readonly PairReward[]): CollapseWarning | undefined {
  const saturated = mean(pairs, (pair) => (pair.chosenReward - pair.rejectedReward > SATURATED_MARGIN ? 1 : 0));
  if (saturated < 0.9) return undefined;
  return {
    name: 'margin-saturation',
    message: `${Math.round(saturated * 100)} % of pairs have a reward margin above ${SATURATED_MARGIN}; there is nothing left to learn from them, stop earlier or raise --beta`,
  };
}

/** Pearson's r; 0 if either side is constant. */
function correlation(x: readonly number[], y: readonly number[]): number {
  const meanX = x.reduce((sum, value) => sum + value, 0) / x.length;
  const meanY = y.reduce((sum, value) => sum + value, 0) / y.length;
  let xy = 0;
  let xx = 0;
  let yy = 0;
  for (const [index, value] of x.entries()) {
    xy += (value - meanX) * (y[index]! - meanY);
    xx += (value - meanX) ** 2;
    yy += (y[index]! - meanY) ** 2;
  }
  return xx === 0 || yy === 0 ? 0 : xy / Math.sqrt(xx * yy);
}
