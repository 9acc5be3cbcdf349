// SPDX-License-Identifier: Apache-2.0
import type { Benchmark } from '../benchmark.ts';
import { scoreDrift } from './score.ts';

export const drift: Benchmark = {
  name: 'drift',
  scored: "how far a server's log-probabilities are from ours, and what it reads otherwise",
  score: scoreDrift,
};
