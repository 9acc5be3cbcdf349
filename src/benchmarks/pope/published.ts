// SPDX-License-Identifier: Apache-2.0
// Li et al. 2024, 2402.10884.
// SeVa: Zhu et al. 2024, 2404.10501.
import { type DrawnFigure, publishedRows } from '../published.ts';

export const published = [
  ...publishedRows('SeVa README', ['all'], {
    'SeVa-7B, step 500': [86.8],
  }),
  ...publishedRows('SeVa table 1', ['all', 'random', 'popular', 'adversarial'], {
    'LLaVA-1.5-7B': [85.9, 89.5, 86.7, 81.7],
    'SeVa-7B, flip': [86.7, 89.2, 87.1, 83.9],
    'SeVa-7B, rrcrop': [86.8, 89.4, 87.4, 83.6],
    'SeVa-7B, autoaugment': [86.5, 88.8, 86.8, 83.9],
    'SeVa-7B, diffusion (weak)': [86.7, 89.4, 87.1, 83.6],
    'SeVa-7B, moco': [86.6, 89.1, 87.1, 83.7],
    'SeVa-7B, diffusion (strong)': [86.6, 89.2, 87.5, 83.3],
  }),
  ...publishedRows('SeVa table 2', ['all'], {
    'BLIP-2 (FLAN-T5)': [85.3],
    'InstructBLIP (Vicuna-13B)': [78.9],
    'LLaVA-1.5-7B': [85.9],
    'SeVa-7B': [86.7],
    'LLaVA-1.5-13B': [85.9],
    'SeVa-13B': [87.4],
  }),
  ...publishedRows('SeVa table 3', ['all'], {
    'SFT 2 %, 15k': [86],
    'SFT 10 %, 66k': [86],
    'SFT 20 %, 132k': [86.1],
    'SFT text and ocr, 102k': [86.7],
    'SeVa-7B, 8k': [86.2],
    'SeVa-7B, 16k': [86.7],
  }),
  ...publishedRows('SeVa table 6', ['all'], {
    'LLaVA-1.5-7B': [85.9],
    'SeVa-7B, LoRA 64': [86.5],
    'SeVa-7B, LoRA 128': [86.4],
    'SeVa-7B, LoRA 256': [86.6],
    'SeVa-7B, LoRA 512': [86.8],
    'SeVa-7B, LoRA 1024': [86.7],
    'SeVa-7B, LoRA 2048': [84.5],
  }),
  ...publishedRows('Li et al. main table', ['all'], {
    'LLaVA-1.5-13B': [85.9],
    'LLaVA-RLHF-13B': [86.9],
    'Standard SFT': [85],
    SteerLM: [87.8],
    'Rejection sampling': [88.3],
    DPO: [87],
  }),
];

export const drawn: readonly DrawnFigure[] = [
  { source: 'SeVa figure 2', shows: 'POPE with augmented pictures, no training' },
];
