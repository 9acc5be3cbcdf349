// SPDX-License-Identifier: Apache-2.0
import type { Benchmark } from '../benchmark.ts';
import { mmhalQuestions } from './import.ts';
import { scoreMMHal } from './score.ts';

export const mmhal: Benchmark = {
  name: 'mmhal',
  paper: 'Sun et al. 2023 (LLaVA-RLHF), 2309.14525',
  scored: "mean of the judge's ratings 0 to 6; share below 3, which are hallucinations",
  import: mmhalQuestions,
  score: scoreMMHal,
};
