// SPDX-License-Identifier: Apache-2.0
// A statement of an answer that a judge has checked.
import type { Claim } from './record.ts';

/** A claim is doubtful when P(yes) is below this, unless another is asked for. */
export const DOUBT = 0.5;

export function isDoubtful({ p_yes: pYes }: Claim, doubt = DOUBT): boolean {
  return pYes < doubt;
}
