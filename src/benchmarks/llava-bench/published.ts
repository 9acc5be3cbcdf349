// SPDX-License-Identifier: Apache-2.0
// Li et al. 2024, 2402.10884.
// SeVa: Zhu et al. 2024, 2404.10501.
import { type DrawnFigure, publishedRows } from '../published.ts';

export const published = [
  ...publishedRows('SeVa README', ['all'], {
    'SeVa-7B, step 500': [70.7],
    'SeVa-7B, step 800': [72.2],
    'SeVa-7B, moco': [72.5],
  }),
  ...publishedRows('SeVa table 2', ['all'], {
    'BLIP-2 (FLAN-T5)': [38.1],
    'InstructBLIP (Vicuna-7B)': [60.9],
    'InstructBLIP (Vicuna-13B)': [58.2],
    'LLaVA (Vicuna-7B)': [63],
    'LLaVA-1.5-7B': [63.4],
    'SeVa-7B': [72.2],
    'LLaVA-1.5-13B': [70.7],
    'SeVa-13B': [80.1],
  }),
  ...publishedRows('Li et al. main table', ['all'], {
    'LLaVA-1.5-13B': [73.1],
    'LLaVA-RLHF-13B': [76.8],
    'Standard SFT': [63.7],
    SteerLM: [67],
    'Rejection sampling': [70.6],
    DPO: [79.1],
  }),
];

export const drawn: readonly DrawnFigure[] = [
  { source: 'SeVa figure 5', shows: 'wins and losses of SeVa against LLaVA-1.5, and lengths' },
];
