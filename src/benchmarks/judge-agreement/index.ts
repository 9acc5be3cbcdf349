// SPDX-License-Identifier: Apache-2.0
import type { Benchmark } from '../benchmark.ts';
import { judgeAgreementQuestions } from './import.ts';
import { scoreJudgeAgreement } from './score.ts';

export const judgeAgreement: Benchmark = {
  name: 'judge-agreement',
  paper: 'Li et al. 2024 (VL-RewardBench), 2411.17451',
  scored: 'how often a judge prefers the answer that people prefer',
  import: judgeAgreementQuestions,
  score: scoreJudgeAgreement,
};
