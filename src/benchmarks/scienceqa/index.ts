// SPDX-License-Identifier: Apache-2.0
import type { Benchmark } from '../benchmark.ts';
import { scienceqaQuestions } from './import.ts';
import { published } from './published.ts';
import { scoreScienceQA } from './score.ts';

export const scienceqa: Benchmark = {
  name: 'scienceqa',
  paper: 'Lu et al. 2022, 2209.09513',
  scored: 'option letter',
  import: scienceqaQuestions,
  score: scoreScienceQA,
  published,
};
