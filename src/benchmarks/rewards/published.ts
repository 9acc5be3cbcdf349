// SPDX-License-Identifier: Apache-2.0
// SeVa: Zhu et al. 2024, 2404.10501.
import type { DrawnFigure } from '../published.ts';

export const drawn: readonly DrawnFigure[] = [
  { source: 'SeVa figure 7 (a)', shows: 'reward margin by noise step', by: 'step' },
];
