// SPDX-License-Identifier: Apache-2.0
import type { Benchmark } from '../benchmark.ts';
import { scoreExact } from './score.ts';

export const exact: Benchmark = {
  name: 'exact',
  scored: "exact answer, by kind, for label files of one's own",
  score: scoreExact,
};
