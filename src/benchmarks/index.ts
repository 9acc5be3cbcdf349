// SPDX-License-Identifier: Apache-2.0
// The table of benchmarks: one object per folder.
export { alpacaEval } from './alpaca-eval/index.ts';
export { amber } from './amber/index.ts';
export { chair } from './chair/index.ts';
export { consistency } from './consistency/index.ts';
export { drift } from './drift/index.ts';
export { exact } from './exact/index.ts';
export { gqa } from './gqa/index.ts';
export { hallucination } from './hallucination/index.ts';
export { hallusionBench } from './hallusionbench/index.ts';
export { judgeAgreement } from './judge-agreement/index.ts';
export { length } from './length/index.ts';
export { llavaBench } from './llava-bench/index.ts';
export { mmbench } from './mmbench/index.ts';
export { mmhal } from './mmhal/index.ts';
export { mmvet } from './mmvet/index.ts';
export { mtBench } from './mt-bench/index.ts';
export { objhal } from './objhal/index.ts';
export { pope } from './pope/index.ts';
export { rewards } from './rewards/index.ts';
export { scienceqa } from './scienceqa/index.ts';
export { seedBench } from './seed-bench/index.ts';
export { shr } from './shr/index.ts';
