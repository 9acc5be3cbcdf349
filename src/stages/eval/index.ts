// SPDX-License-Identifier: Apache-2.0
// The benchmarks by name. A new one is a file with a Scorer and a line here.
import { scoreAlpacaEval } from './alpaca-eval.ts';
import { scoreConsistency } from './consistency.ts';
import { scoreExact } from './exact.ts';
import { scoreGqa } from './gqa.ts';
import { scoreHallucination } from './hallucination.ts';
import { scoreLength } from './length.ts';
import { scoreLlavaBench } from './llava-bench.ts';
import { scoreMMBench } from './mmbench.ts';
import { scoreMMVet } from './mmvet.ts';
import { scoreMTBench } from './mt-bench.ts';
import { scorePope } from './pope.ts';
import { scoreRewards } from './rewards.ts';
import { scoreScienceQA } from './scienceqa.ts';
import type { Scorer } from './score-row.ts';
import { scoreSeedBench } from './seed-bench.ts';
import { scoreShr } from './shr.ts';

export const scorers: Readonly<Record<string, Scorer>> = {
  pope: scorePope,
  mmvet: scoreMMVet,
  'llava-bench': scoreLlavaBench,
  mmbench: scoreMMBench,
  'seed-bench': scoreSeedBench,
  shr: scoreShr,
  scienceqa: scoreScienceQA,
  gqa: scoreGqa,
  'mt-bench': scoreMTBench,
  'alpaca-eval': scoreAlpacaEval,
  consistency: scoreConsistency,
  hallucination: scoreHallucination,
  exact: scoreExact,
  length: scoreLength,
  rewards: scoreRewards,
};
