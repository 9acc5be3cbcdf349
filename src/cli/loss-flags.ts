// SPDX-License-Identifier: Apache-2.0
// Hyperparameters of the losses as flags of train, from the engine's table (native/train/losses/hyperparameters.h).
import { HYPERPARAMETERS } from '../engine/losses.ts';
import { numberFlag } from './flags.ts';

type Hyperparameter = (typeof HYPERPARAMETERS)[number];
type Name = Hyperparameter['name'];

const lossFlag = ({ name: _name, ...row }: Hyperparameter) => numberFlag({ ...row, helpGroup: 'Loss' });

export const lossFlags = Object.fromEntries(HYPERPARAMETERS.map((row) => [row.name, lossFlag(row)])) as Record<
  Name,
  ReturnType<typeof lossFlag>
>;

export type LossFlagValues = Record<Name, number>;

/** Only the values of these flags. */
export function lossOptions(flags: LossFlagValues): LossFlagValues {
  return Object.fromEntries(HYPERPARAMETERS.map(({ name }) => [name, flags[name]])) as LossFlagValues;
}
