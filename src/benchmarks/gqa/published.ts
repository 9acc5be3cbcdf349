// SPDX-License-Identifier: Apache-2.0
// SeVa: Zhu et al. 2024, 2404.10501.
import { publishedRows } from '../published.ts';

export const published = [
  ...publishedRows('SeVa README', ['all'], {
    'SeVa-7B, step 500': [61.1],
    'SeVa-7B, step 800': [60.7],
    'SeVa-7B, moco': [60.9],
  }),
  ...publishedRows('SeVa table 2', ['all'], {
    'BLIP-2 (FLAN-T5)': [41],
    'InstructBLIP (Vicuna-13B)': [49.5],
    'IDEFICS-9B': [38.4],
    'IDEFICS-80B': [45.2],
    'Qwen-VL': [59.3],
    'Qwen-VL-chat': [57.5],
    'LLaVA-1.5-7B': [62],
    'SeVa-7B': [60.7],
    'LLaVA-1.5-13B': [63.3],
    'SeVa-13B': [63.4],
  }),
];
