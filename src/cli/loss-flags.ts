// SPDX-License-Identifier: Apache-2.0
// Hyperparameters of the losses: flags of train. Each has the name of its row in native/train/losses/loss.cc.
import { numberFlag } from './flags.ts';

export const lossFlags = {
  beta: numberFlag({
    above: 0,
    default: 0.1,
    helpValue: 'B',
    summary: 'inverse temperature of the implicit reward; larger keeps the policy closer to the reference',
  }),
  'label-smoothing': numberFlag({
    min: 0,
    max: 0.5,
    default: 0,
    helpValue: 'E',
    summary: 'share of pairs assumed flipped (cDPO; robust, exo)',
  }),
  'simpo-gamma': numberFlag({ default: 0.5, helpValue: 'G', summary: 'simpo: target reward margin' }),
  'cpo-alpha': numberFlag({ min: 0, default: 1, helpValue: 'A', summary: 'cpo: weight of the sft term' }),
  'orpo-lambda': numberFlag({ min: 0, default: 0.1, helpValue: 'L', summary: 'orpo: weight of the odds-ratio term' }),
  'desirable-weight': numberFlag({ min: 0, default: 1, helpValue: 'W', summary: 'kto: weight of desirable records' }),
  'undesirable-weight': numberFlag({
    min: 0,
    default: 1,
    helpValue: 'W',
    summary: 'kto: weight of undesirable records',
  }),
};

export type LossFlagValues = Record<keyof typeof lossFlags, number>;

/** The flags' values alone. */
export function lossOptions(flags: LossFlagValues): LossFlagValues {
  const names = Object.keys(lossFlags) as (keyof typeof lossFlags)[];
  return Object.fromEntries(names.map((name) => [name, flags[name]])) as LossFlagValues;
}
