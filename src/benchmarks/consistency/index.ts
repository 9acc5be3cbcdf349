// SPDX-License-Identifier: Apache-2.0
import type { Benchmark } from '../benchmark.ts';
import { published } from './published.ts';
import { scoreConsistency } from './score.ts';

export const consistency: Benchmark = {
  name: 'consistency',
  paper: 'Zhu et al. 2024 (SeVa), table 5',
  scored: "mean of the judge's ratings against the question and the greedy answer",
  score: scoreConsistency,
  published,
};
