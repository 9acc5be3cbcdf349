// SPDX-License-Identifier: Apache-2.0
import type { Benchmark } from '../benchmark.ts';
import { scoreExact } from './score.ts';

export const exact: Benchmark = {
  name: 'exact',
  scored: 'exact match, by kind, with your own label files',
  score: scoreExact,
};
