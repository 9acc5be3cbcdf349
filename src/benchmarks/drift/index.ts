// SPDX-License-Identifier: Apache-2.0
import type { Benchmark } from '../benchmark.ts';
import { scoreDrift } from './score.ts';

export const drift: Benchmark = {
  name: 'drift',
  scored: "difference between a server's log-probabilities and vpref's, and its likely cause",
  score: scoreDrift,
};
