// SPDX-License-Identifier: Apache-2.0
import type { Benchmark } from '../benchmark.ts';
import { chairQuestions } from './import.ts';
import { scoreChair } from './score.ts';

export const chair: Benchmark = {
  name: 'chair',
  paper: 'Rohrbach et al. 2018, 1809.02156',
  scored: 'share of mentions of COCO objects that are absent, every mention counted, and of captions with any',
  import: chairQuestions,
  score: scoreChair,
};
