// SPDX-License-Identifier: Apache-2.0
import type { Benchmark } from '../benchmark.ts';
import { gqaQuestions } from './import.ts';
import { published } from './published.ts';
import { scoreGqa } from './score.ts';

export const gqa: Benchmark = {
  name: 'gqa',
  paper: 'Hudson and Manning 2019, 1902.09506',
  scored: 'exact answer',
  import: gqaQuestions,
  score: scoreGqa,
  published,
};
