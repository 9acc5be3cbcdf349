// SPDX-License-Identifier: Apache-2.0
// The losses that the engine knows, and the sums published under a name. Made by scripts/losses.ts.

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
