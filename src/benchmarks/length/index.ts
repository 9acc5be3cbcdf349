// SPDX-License-Identifier: Apache-2.0
import type { Benchmark } from '../benchmark.ts';
import { scoreLength } from './score.ts';

export const length: Benchmark = {
  name: 'length',
  scored: 'words, characters and tokens of answers',
  score: scoreLength,
};
