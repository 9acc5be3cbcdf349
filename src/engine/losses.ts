// SPDX-License-Identifier: Apache-2.0
// The losses that the engine knows, the sums published under a name, and the numbers that they read. Made by scripts/losses.ts.

export const LOSSES = [
  'sigmoid',
  'sigmoid-norm',
  'ipo',
  'ipo-token-mean',
  'hinge',
  'robust',
  'exo',
  'bco-pair',
  'bco',
  'nca',
  'apo-zero',
  'apo-down',
  'softmax',
  'mdpo',
  'simpo',
  'odds-ratio',
  'cpo-margin',
  'kto',
  'sft',
  'orpo',
  'cpo',
  'mpo',
] as const;

/** As flags of train. */
// biome-ignore format: a row each
export const HYPERPARAMETERS = [
  { name: 'beta', default: 0.1, helpValue: 'B', summary: 'strength of the pull to the reference', above: 0 },
  { name: 'label-smoothing', default: 0, helpValue: 'E', summary: 'share of pairs assumed flipped (cDPO; robust, exo)', min: 0, max: 0.5 },
  { name: 'simpo-gamma', default: 0.5, helpValue: 'G', summary: 'target margin of simpo' },
  { name: 'cpo-alpha', default: 1, helpValue: 'A', summary: 'weight of the sft term of cpo', min: 0 },
  { name: 'orpo-lambda', default: 0.1, helpValue: 'L', summary: 'weight of the odds ratio of orpo', min: 0 },
  { name: 'desirable-weight', default: 1, helpValue: 'W', summary: 'weight of desirable rows in kto', min: 0 },
  { name: 'undesirable-weight', default: 1, helpValue: 'W', summary: 'weight of undesirable rows in kto', min: 0 },
] as const;
