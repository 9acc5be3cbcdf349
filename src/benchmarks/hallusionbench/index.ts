// SPDX-License-Identifier: Apache-2.0
import type { Benchmark } from '../benchmark.ts';
import { hallusionBenchQuestions } from './import.ts';
import { scoreHallusionBench } from './score.ts';

export const hallusionBench: Benchmark = {
  name: 'hallusionbench',
  paper: 'Guan et al. 2023, 2310.14566',
  scored: 'yes or no, or a judge: right questions, figures with all questions right, pairs with all figures right',
  import: hallusionBenchQuestions,
  score: scoreHallusionBench,
};
