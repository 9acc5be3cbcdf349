// SPDX-License-Identifier: Apache-2.0
import type { Benchmark } from '../benchmark.ts';
import { mmbenchQuestions } from './import.ts';
import { drawn, published } from './published.ts';
import { scoreMMBench } from './score.ts';

export const mmbench: Benchmark = {
  name: 'mmbench',
  paper: 'Liu et al. 2023, 2307.06281',
  scored: 'circular evaluation',
  import: mmbenchQuestions,
  score: scoreMMBench,
  published,
  drawn,
};
