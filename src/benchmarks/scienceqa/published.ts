// SPDX-License-Identifier: Apache-2.0
// SeVa: Zhu et al. 2024, 2404.10501.
import { publishedRows } from '../published.ts';

export const published = [
  ...publishedRows('SeVa README', ['image'], {
    'SeVa-7B, step 500': [67.4],
    'SeVa-7B, step 800': [67.5],
    'SeVa-7B, moco': [67.1],
  }),
  ...publishedRows('SeVa table 2', ['image'], {
    'BLIP-2 (FLAN-T5)': [61],
    'InstructBLIP (Vicuna-7B)': [60.5],
    'InstructBLIP (Vicuna-13B)': [63.1],
    'Qwen-VL': [67.1],
    'Qwen-VL-chat': [68.2],
    'LLaVA (Vicuna-7B)': [38.5],
    'LLaVA-1.5-7B': [66.8],
    'SeVa-7B': [67.5],
    'LLaVA-1.5-13B': [71.6],
    'SeVa-13B': [71.2],
  }),
];
