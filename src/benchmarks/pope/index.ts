// SPDX-License-Identifier: Apache-2.0
import type { Benchmark } from '../benchmark.ts';
import { popeQuestions } from './import.ts';
import { drawn, published } from './published.ts';
import { scorePope } from './score.ts';

export const pope: Benchmark = {
  name: 'pope',
  paper: 'Li et al. 2023, 2305.10355',
  scored: 'its script: first sentence, yes unless No, not or no; F1 and accuracy',
  import: popeQuestions,
  score: scorePope,
  published,
  drawn,
};
