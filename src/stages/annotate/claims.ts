// SPDX-License-Identifier: Apache-2.0
// Guides with `claims: true`: each response is split into claims, and one question is asked per claim.
import type { Annotation, Claim, VprefRecord } from '../../records/record.ts';
import type { PlannedCall } from './plan.ts';
import type { Reading } from './replies/reading.ts';

/** The question that splits the response; none for an empty response. */
export function splitCall(call: PlannedCall): PlannedCall {
  const isEmpty = call.answers[0]!.text.trim() === '';
  return { ...call, isSplit: true, ...(isEmpty && { known: { claims: [] } }) };
}

/** One question per claim. */
export function claimCalls(call: PlannedCall, claims: readonly string[]): PlannedCall[] {
  return claims.map((claim) => ({ ...call, variables: { ...call.variables, claim } }));
}

/** The claims of each response with their replies. The scores are their number and mean, or null for a response without claims. */
export function claimFields(
  record: VprefRecord,
  calls: readonly PlannedCall[],
  readings: readonly Reading[],
): Pick<Annotation, 'scores' | 'claims'> {
  const claims = record.responses!.map((): Claim[] => []);
  for (const [index, { response, variables }] of calls.entries()) {
    const { scores, masses } = readings[index]!;
    const [[pYes], [mass]] = [Object.values(scores![0]!), Object.values(masses![0]!)];
    claims[response!]!.push({ text: String(variables.claim), p_yes: pYes!, mass: mass! });
  }
  const mean = (of: readonly Claim[]) => of.reduce((sum, claim) => sum + claim.p_yes, 0) / of.length;
  return { scores: claims.map((of) => (of.length === 0 ? null : { claims: of.length, p_yes: mean(of) })), claims };
}
