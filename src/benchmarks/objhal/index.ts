// SPDX-License-Identifier: Apache-2.0
import type { Benchmark } from '../benchmark.ts';
import { objhalQuestions } from './import.ts';
import { scoreObjhal } from './score.ts';

export const objhal: Benchmark = {
  name: 'objhal',
  paper: 'Yu et al. 2023 (RLHF-V), 2312.00849',
  scored: 'share of answers, and of objects that a judge finds in them, that name what is absent',
  import: objhalQuestions,
  score: scoreObjhal,
};
