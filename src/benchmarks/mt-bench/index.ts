// SPDX-License-Identifier: Apache-2.0
import type { Benchmark } from '../benchmark.ts';
import { mtBenchQuestions } from './import.ts';
import { drawn, published } from './published.ts';
import { scoreMTBench } from './score.ts';

export const mtBench: Benchmark = {
  name: 'mt-bench',
  paper: 'Zheng et al. 2023, 2306.05685',
  scored: 'mean of two turns, 1 to 10',
  import: mtBenchQuestions,
  score: scoreMTBench,
  published,
  drawn,
};
