// SPDX-License-Identifier: Apache-2.0
// Existing pairs, imported or written by hand: kept unchanged, for flips, filters and image negatives.
import { RecordError } from '../../records/error.ts';
import type { Rule } from './rule.ts';

/** Fields with one entry per rejected response. */
export const PER_REJECTED = ['rejected', 'rejected_score', 'ref_rejected_logps', 'policy_rejected_logps'] as const;

export const given: Rule = (row, { negatives }) => {
  const { record } = row;
  const { chosen, rejected, pair = { rule: 'given' } } = record;
  if (chosen === undefined || rejected === undefined || rejected.length === 0) {
    const field = chosen === undefined ? 'chosen' : 'rejected';
    throw new RecordError(row, field, 'an answer (--rule given takes pairs that are there)', 'nothing');
  }
  const fields: Record<string, unknown> = {};
  for (const key of PER_REJECTED) {
    const value = record[key];
    if (negatives !== undefined && Array.isArray(value)) fields[key] = value.slice(0, negatives);
  }
  return [{ fields: { ...fields, pair } }];
};
