// SPDX-License-Identifier: Apache-2.0
import type { Benchmark } from '../benchmark.ts';
import { seedBenchQuestions } from './import.ts';
import { published } from './published.ts';
import { scoreSeedBench } from './score.ts';

export const seedBench: Benchmark = {
  name: 'seed-bench',
  paper: 'Li et al. 2023, 2307.16125',
  scored: 'letter or likelihood of the choices',
  import: seedBenchQuestions,
  score: scoreSeedBench,
  published,
};
