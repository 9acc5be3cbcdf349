// SPDX-License-Identifier: Apache-2.0
import type { Benchmark } from '../benchmark.ts';
import { amberQuestions } from './import.ts';
import { scoreAmber } from './score.ts';

export const amber: Benchmark = {
  name: 'amber',
  paper: 'Wang et al. 2023, 2311.07397',
  scored: 'its script: F1 of no by kind of question; CHAIR, cover, Hal and Cog of descriptions',
  import: amberQuestions,
  score: scoreAmber,
};
