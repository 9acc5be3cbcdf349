// SPDX-License-Identifier: Apache-2.0
import type { Benchmark } from '../benchmark.ts';
import { scoreHallucination } from './score.ts';

export const hallucination: Benchmark = {
  name: 'hallucination',
  paper: 'Rohrbach et al. 2018 (CHAIR), 1809.02156',
  scored: 'share of named objects that are absent, each counted once',
  score: scoreHallucination,
};
