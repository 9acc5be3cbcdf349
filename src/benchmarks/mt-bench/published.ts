// SPDX-License-Identifier: Apache-2.0
// Li et al. 2024, 2402.10884.
import { type DrawnFigure, publishedRows } from '../published.ts';

export const published = [
  ...publishedRows('Li et al. main table', ['all'], {
    'Vicuna-1.5-13B': [6.57],
    'LLaVA-1.5-13B': [5.99],
    'LLaVA-RLHF-13B': [6.18],
    'Standard SFT': [5.01],
    SteerLM: [5.7],
    'Rejection sampling': [6.22],
    DPO: [6.73],
  }),
  ...publishedRows('Li et al. transfer', ['all'], {
    'Vicuna-1.5-7B': [6.17],
    'LLaVA-1.5-7B': [5.87],
    'DPO (7B)': [6.228],
  }),
  ...publishedRows('Li et al. table 7', ['all'], {
    'Vicuna-1.5-13B, noisy image': [6.57],
    'Vicuna-1.5-7B, noisy image': [6.17],
    'BLIP-2, noisy image': [1.93],
    'InstructBLIP, noisy image': [4.73],
    'LLaVA-1.5-13B, noisy image': [5.92],
    'DPO, noisy image': [6.63],
  }),
];

export const drawn: readonly DrawnFigure[] = [
  {
    source: 'Li et al. data scale',
    shows: "MT-Bench by share of the data: beyond Vicuna's 6.57 below 75 %",
    by: 'share',
  },
  { source: 'Li et al. label noise', shows: 'MT-Bench by share of swapped pairs', by: 'flip' },
];
