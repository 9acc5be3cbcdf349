// SPDX-License-Identifier: Apache-2.0
// Before any update the policy is its reference: rewards that are not 0 then say that the stored sums are not those of this model.
import type { RowFigures } from './metrics.ts';

/** What another order of sums moves a branch's log-probability by, in nats: at most, and more a token. */
const ROUNDING = { f32: { base: 0.02, token: 5e-4 }, bf16: { base: 1, token: 0.1 } };

/** A warning for the rows of the first step, or undefined where all their rewards are 0 within rounding. */
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
    `nothing is trained yet, and the rewards of ${differing.length} of the first step's ${rows.length} records are not 0 ` +
    `(log-probabilities up to ${largest.toFixed(2)} nats from ref_*): these sums are of another model or other texts; compute them with precompute-ref`
  );
}
