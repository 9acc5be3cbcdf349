// SPDX-License-Identifier: Apache-2.0
// Hyperparameters of the losses: flags of train. Each has the name of its row in native/train/losses/loss.cc.
import { numberFlag } from './flags.ts';

export const lossFlags = {
  beta: numberFlag({ above: 0, default: 0.1, helpValue: 'B', summary: 'strength of the pull to the reference' }),
  'label-smoothing': numberFlag({
    min: 0,
    max: 0.5,
    default: 0,
    helpValue: 'E',
    summary: 'share of pairs assumed flipped (cDPO; robust, exo)',
  }),
  'simpo-gamma': numberFlag({ default: 0.5, helpValue: 'G', summary: 'target margin of simpo' }),
  'cpo-alpha': numberFlag({ min: 0, default: 1, helpValue: 'A', summary: 'weight of the sft term of cpo' }),
  'orpo-lambda': numberFlag({ min: 0, default: 0.1, helpValue: 'L', summary: 'weight of the odds ratio of orpo' }),
  'desirable-weight': numberFlag({ min: 0, default: 1, helpValue: 'W', summary: 'weight of desirable rows in kto' }),
  'undesirable-weight': numberFlag({
    min: 0,
    default: 1,
    helpValue: 'W',
    summary: 'weight of undesirable rows in kto',
  }),
};

export type LossFlagValues = Record<keyof typeof lossFlags, number>;

/** The flags' values alone. */
export function lossOptions(flags: LossFlagValues): LossFlagValues {
  const names = Object.keys(lossFlags) as (keyof typeof lossFlags)[];
  return Object.fromEntries(names.map((name) => [name, flags[name]])) as LossFlagValues;
}
