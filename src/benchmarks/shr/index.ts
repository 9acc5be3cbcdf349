// SPDX-License-Identifier: Apache-2.0
import type { Benchmark } from '../benchmark.ts';
import { shrQuestions } from './import.ts';
import { published } from './published.ts';
import { scoreShr } from './score.ts';

export const shr: Benchmark = {
  name: 'shr',
  paper: 'Zhao et al. 2023, 2311.16839',
  scored: 'share of hallucinated sentences',
  import: shrQuestions,
  score: scoreShr,
  published,
};
