// SPDX-License-Identifier: Apache-2.0
import type { Benchmark } from '../benchmark.ts';
import { mmvetQuestions } from './import.ts';
import { drawn, published } from './published.ts';
import { scoreMMVet } from './score.ts';

export const mmvet: Benchmark = {
  name: 'mmvet',
  paper: 'Yu et al. 2023, 2308.02490',
  scored: "mean of the judge's grades, by capability",
  import: mmvetQuestions,
  score: scoreMMVet,
  published,
  drawn,
};
