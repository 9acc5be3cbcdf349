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
  { name: 'beta', default: 0.1, helpValue: 'B', summary: 'inverse temperature of the implicit reward; larger keeps the policy closer to the reference', above: 0 },
  { name: 'label-smoothing', default: 0, helpValue: 'E', summary: 'share of pairs assumed flipped (cDPO; robust, exo)', min: 0, max: 0.5 },
  { name: 'simpo-gamma', default: 0.5, helpValue: 'G', summary: 'simpo: target reward margin' },
  { name: 'cpo-alpha', default: 1, helpValue: 'A', summary: 'cpo: weight of the sft term', min: 0 },
  { name: 'orpo-lambda', default: 0.1, helpValue: 'L', summary: 'orpo: weight of the odds-ratio term', min: 0 },
  { name: 'desirable-weight', default: 1, helpValue: 'W', summary: 'kto: weight of desirable records', min: 0 },
  { name: 'undesirable-weight', default: 1, helpValue: 'W', summary: 'kto: weight of undesirable records', min: 0 },
] as const;
