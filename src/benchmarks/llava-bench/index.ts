// SPDX-License-Identifier: Apache-2.0
import type { Benchmark } from '../benchmark.ts';
import { llavaBenchQuestions } from './import.ts';
import { drawn, published } from './published.ts';
import { scoreLlavaBench } from './score.ts';

export const llavaBench: Benchmark = {
  name: 'llava-bench',
  paper: 'Liu et al. 2023, 2304.08485',
  scored: "ratio of the judge's two scores",
  import: llavaBenchQuestions,
  score: scoreLlavaBench,
  published,
  drawn,
};
