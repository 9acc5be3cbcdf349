// SPDX-License-Identifier: Apache-2.0
// `weight` and `beta` of a record: its weight in the loss of its step, and its beta. Version 0.1 left both names to users, so values that are not numbers are ignored.
import type { LossNeeds, TrainRow } from '../../engine/train-requests.ts';
import type { Row } from '../../flow/stage.ts';
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
  const count = (name: 'weight' | 'beta', isNumber: boolean) =>
    rows.filter(({ record }) => record[name] !== undefined && (typeof record[name] === 'number') === isNumber).length;
  const notes: string[] = [];
  const [weights, betas] = [count('weight', true), count('beta', true)];
  if (weights > 0) notes.push(`weight: ${weights} of ${rows.length} records have one, which weights them in the loss`);
  if (betas > 0 && needs.hyperparameters.includes('beta'))
    notes.push(`beta: ${betas} of ${rows.length} records have one, used instead of --beta`);
  else if (betas > 0) notes.push(`beta: ${betas} of ${rows.length} records have one, which this loss does not use`);
  for (const name of ['weight', 'beta'] as const) {
    const others = count(name, false);
    if (others > 0) notes.push(`${name}: ${others} of ${rows.length} records have one that is not a number: not used`);
  }
  return notes;
}
