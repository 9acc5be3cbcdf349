// SPDX-License-Identifier: Apache-2.0
import type { Benchmark } from '../benchmark.ts';
import { alpacaEvalQuestions } from './import.ts';
import { published } from './published.ts';
import { scoreAlpacaEval } from './score.ts';

export const alpacaEval: Benchmark = {
  name: 'alpaca-eval',
  paper: 'Li et al. 2023; Dubois et al. 2024, 2404.04475',
  scored: 'win rate, length-controlled',
  import: alpacaEvalQuestions,
  score: scoreAlpacaEval,
  published,
};
