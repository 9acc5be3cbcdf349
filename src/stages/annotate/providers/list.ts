// SPDX-License-Identifier: Apache-2.0
// The providers of judges by their name for --judge, one per line.
export { anthropic } from './anthropic.ts';
export { exec } from './exec.ts';
export { gemini } from './gemini.ts';
export { local } from './local.ts';
export { openai } from './openai.ts';
export { reward } from './reward.ts';
