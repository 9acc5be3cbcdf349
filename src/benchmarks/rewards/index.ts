// SPDX-License-Identifier: Apache-2.0
import type { Benchmark } from '../benchmark.ts';
import { drawn } from './published.ts';
import { scoreRewards } from './score.ts';

export const rewards: Benchmark = {
  name: 'rewards',
  paper: 'Rafailov et al. 2023, 2305.18290 eq. 5',
  scored: 'reward accuracy and margin of pairs',
  score: scoreRewards,
  drawn,
};
