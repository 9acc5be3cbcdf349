// SPDX-License-Identifier: Apache-2.0
// SeVa: Zhu et al. 2024, 2404.10501.
import { publishedRows } from '../published.ts';

export const published = [
  ...publishedRows('SeVa README', ['image'], {
    'SeVa-7B, step 500': [65.8],
    'SeVa-7B, step 800': [65.8],
    'SeVa-7B, moco': [65.5],
  }),
  ...publishedRows('SeVa table 2', ['image'], {
    'BLIP-2 (FLAN-T5)': [46.4],
    'InstructBLIP (Vicuna-7B)': [53.4],
    'Qwen-VL': [56.3],
    'Qwen-VL-chat': [58.2],
    'LLaVA (Vicuna-7B)': [25.5],
    'LLaVA-1.5-7B': [65.7],
    'SeVa-7B': [65.8],
    'LLaVA-1.5-13B': [68.2],
    'SeVa-13B': [68.6],
  }),
];
