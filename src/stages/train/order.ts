// SPDX-License-Identifier: Apache-2.0
// The rows of a step: a function of (number of rows, batch size, seed, step), so a resumed run needs only its step number.
import { randomStream } from '../../records/random.ts';

export interface TrainingLength {
  /** Optimizer steps of one pass; the last one may be short. */
  stepsPerEpoch: number;
  totalSteps: number;
}

/** Steps of a run: `epochs` may be fractional (rounded up to whole steps); maxSteps overrides, if given. */
export function trainingLength(numRows: number, batchSize: number, epochs: number, maxSteps?: number): TrainingLength {
  const stepsPerEpoch = Math.ceil(numRows / batchSize);
  return { stepsPerEpoch, totalSteps: maxSteps ?? Math.max(1, Math.ceil(epochs * stepsPerEpoch)) };
}

/** Row indices of an epoch (0-based): a seeded Fisher-Yates shuffle, or the input order. */
export function epochOrder(numRows: number, epoch: number, seed: number, shuffle: boolean): Uint32Array<ArrayBuffer> {
  const order = Uint32Array.from({ length: numRows }, (_, index) => index);
  if (!shuffle) return order;
  const stream = randomStream(seed, 'train', 'shuffle', String(epoch));
  for (let last = numRows - 1; last > 0; last--) {
    const pick = stream.nextInt(last + 1);
    const row = order[last]!;
    order[last] = order[pick]!;
    order[pick] = row;
  }
  return order;
}

/** Returns the function from a step (0-based) to its row indices. Keeps the order of one epoch at a time. */
export function stepRows(options: {
  numRows: number;
  batchSize: number;
  seed: number;
  shuffle: boolean;
}): (step: number) => Uint32Array {
  const { numRows, batchSize, seed, shuffle } = options;
  const { stepsPerEpoch } = trainingLength(numRows, batchSize, 1);
  let epoch = -1;
  let order = new Uint32Array();
  return (step) => {
    const wanted = Math.floor(step / stepsPerEpoch);
    if (wanted !== epoch) {
      order = epochOrder(numRows, wanted, seed, shuffle);
      epoch = wanted;
    }
    const begin = (step % stepsPerEpoch) * batchSize;
    return order.subarray(begin, begin + batchSize);
  };
}

/** A rank's rows of a step: consecutive; the numbers of two ranks differ by at most one. */
export function rowsOfRank(rows: Uint32Array, rank: number, numRanks: number): Uint32Array {
  const at = (index: number) => Math.floor((rows.length * index) / numRanks);
  return rows.subarray(at(rank), at(rank + 1));
}
