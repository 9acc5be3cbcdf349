// SPDX-License-Identifier: Apache-2.0
// A claim of a response that a judge checked.
import type { Claim } from './record.ts';

/** Default threshold: a claim is doubtful if P(yes) is below this. */
export const DOUBT = 0.5;

export function isDoubtful({ p_yes: pYes }: Claim, doubt = DOUBT): boolean {
  return pYes < doubt;
}
