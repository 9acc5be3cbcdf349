// SPDX-License-Identifier: Apache-2.0
// Li et al. 2024, 2402.10884.
// SeVa: Zhu et al. 2024, 2404.10501.
import { type DrawnFigure, publishedRows } from '../published.ts';

export const published = [
  ...publishedRows('SeVa README', ['all', 'all (cn)'], {
    'SeVa-7B, step 500': [64.7, 58.8],
  }),
  ...publishedRows('SeVa table 1', ['all', 'all (cn)'], {
    'LLaVA-1.5-7B': [64.3, 58.3],
    'SeVa-7B, flip': [64.4, 58.3],
    'SeVa-7B, rrcrop': [65.5, 59.5],
    'SeVa-7B, autoaugment': [65.4, 59.6],
    'SeVa-7B, diffusion (weak)': [65.6, 59.2],
    'SeVa-7B, moco': [65.2, 59.8],
    'SeVa-7B, diffusion (strong)': [65.2, 58.2],
  }),
  ...publishedRows('SeVa table 2', ['all', 'all (cn)'], {
    'InstructBLIP (Vicuna-7B)': [36, 23.7],
    'Shikra (Vicuna-13B)': [58.8, null],
    'IDEFICS-9B': [48.2, 25.2],
    'IDEFICS-80B': [54.5, 38.1],
    'Qwen-VL': [38.2, 7.4],
    'Qwen-VL-chat': [60.6, 56.7],
    'LLaVA (Vicuna-7B)': [34.1, 14.1],
    'LLaVA-1.5-7B': [64.3, 58.3],
    'SeVa-7B': [65.6, 59.2],
    'LLaVA-1.5-13B': [67.7, 63.6],
    'SeVa-13B': [68.7, 64.8],
  }),
  ...publishedRows('SeVa table 3', ['all'], {
    'SFT 2 %, 15k': [63.7],
    'SFT 10 %, 66k': [64.9],
    'SFT 20 %, 132k': [64.2],
    'SFT text and ocr, 102k': [65.2],
    'SeVa-7B, 8k': [65.3],
    'SeVa-7B, 16k': [65.6],
  }),
  ...publishedRows('SeVa table 6', ['all'], {
    'LLaVA-1.5-7B': [64.3],
    'SeVa-7B, LoRA 64': [64.7],
    'SeVa-7B, LoRA 128': [65],
    'SeVa-7B, LoRA 256': [65.1],
    'SeVa-7B, LoRA 512': [65.5],
    'SeVa-7B, LoRA 1024': [65.6],
    'SeVa-7B, LoRA 2048': [65],
  }),
  ...publishedRows('Li et al. main table', ['all'], {
    'LLaVA-1.5-13B': [67.4],
    'LLaVA-RLHF-13B': [60.1],
    'Standard SFT': [65.4],
    SteerLM: [65.1],
    'Rejection sampling': [67.6],
    DPO: [66.8],
  }),
];

export const drawn: readonly DrawnFigure[] = [
  { source: 'SeVa figure 2', shows: 'MMBench with augmented pictures, no training' },
];
