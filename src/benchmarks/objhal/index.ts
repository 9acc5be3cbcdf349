// SPDX-License-Identifier: Apache-2.0
import type { Benchmark } from '../benchmark.ts';
import { objhalQuestions } from './import.ts';
import { scoreObjhal } from './score.ts';

export const objhal: Benchmark = {
  name: 'objhal',
  paper: 'Yu et al. 2023 (RLHF-V), 2312.00849',
  scored:
    'share of responses that name an absent object, and of named objects that are absent; a judge finds the objects',
  import: objhalQuestions,
  score: scoreObjhal,
};
