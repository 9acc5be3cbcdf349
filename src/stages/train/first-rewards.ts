// SPDX-License-Identifier: Apache-2.0
// Before any update the policy equals its reference. A reward that is not 0 then shows that the stored sums belong to another model.
import { count } from '../../records/count.ts';
import type { RowFigures } from './metrics.ts';

/** Tolerance for another order of summation, in nats: per branch, and per token. */
const ROUNDING = { f32: { base: 0.02, token: 5e-4 }, bf16: { base: 1, token: 0.1 } };

/** A warning for the rows of the first step, or undefined if all their rewards are 0 within rounding. */
export function firstRewardsWarning(rows: readonly RowFigures[], dtype: 'f32' | 'bf16'): string | undefined {
  const { base, token } = ROUNDING[dtype];
  let largest = 0;
  const differing = rows.filter(({ policy, ref, numTokens }) => {
    const gaps = (ref ?? []).map((sum, branch) => {
      const gap = Math.abs(policy[branch]! - sum);
      return gap > base + token * (numTokens[branch] ?? 0) ? gap : 0;
    });
    largest = Math.max(largest, ...gaps);
    return gaps.some((gap) => gap > 0);
  });
  if (differing.length === 0) return undefined;
  return (
    `nothing is trained yet, and the rewards of ${differing.length} of the first step's ${count(rows.length, 'record')} are not 0 ` +
    `(log-probabilities up to ${largest.toFixed(2)} nats from ref_*): these sums are of another model or other texts; compute them with precompute-ref`
  );
}
