// SPDX-License-Identifier: Apache-2.0
// `weight` and `beta` of a record: its weight in the loss of its step, and its beta. Version 0.1 left both names to users, so values that are not numbers are ignored.

import type { LossNeeds, TrainRow } from '../../engine/train-requests.ts';
import type { Row } from '../../flow/stage.ts';
import { count } from '../../records/count.ts';
import { RecordError } from '../../records/error.ts';

/** The weight and beta of a record. Throws RecordError for a number out of range. */
export function weightAndBeta(row: Row): Pick<TrainRow, 'weight' | 'beta'> {
  const { weight, beta } = row.record;
  if (typeof weight === 'number' && weight < 0)
    throw new RecordError(row, 'weight', 'a number of at least 0', String(weight));
  if (typeof beta === 'number' && beta <= 0) throw new RecordError(row, 'beta', 'a number above 0', String(beta));
  return {
    ...(typeof weight === 'number' && { weight }),
    ...(typeof beta === 'number' && { beta }),
  };
}

/** Notes about both: the number of records that have them, and of ignored values. */
export function weightNotes(rows: readonly Row[], needs: LossNeeds): string[] {
  const number = (name: 'weight' | 'beta', isNumber: boolean) =>
    rows.filter(({ record }) => record[name] !== undefined && (typeof record[name] === 'number') === isNumber).length;
  const notes: string[] = [];
  const [weights, betas] = [number('weight', true), number('beta', true)];
  const have = (some: number) => count(some, `of ${rows.length} records has`, `of ${rows.length} records have`);
  if (weights > 0) notes.push(`weight: ${have(weights)} one, which weights them in the loss`);
  if (betas > 0 && needs.hyperparameters.includes('beta'))
    notes.push(`beta: ${have(betas)} one, used instead of --beta`);
  else if (betas > 0) notes.push(`beta: ${have(betas)} one, which this loss does not use`);
  for (const name of ['weight', 'beta'] as const) {
    const others = number(name, false);
    if (others > 0) notes.push(`${name}: ${have(others)} one that is not a number: not used`);
  }
  return notes;
}
