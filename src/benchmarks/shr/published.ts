// SPDX-License-Identifier: Apache-2.0
// SeVa: Zhu et al. 2024, 2404.10501.
import { publishedRows } from '../published.ts';

export const published = [
  ...publishedRows('SeVa README', ['all'], {
    'SeVa-7B, step 500': [32.7],
    'SeVa-7B, step 800': [34.9],
    'SeVa-7B, moco': [32.9],
  }),
  ...publishedRows('SeVa table 2', ['all'], {
    'InstructBLIP (Vicuna-13B)': [51.2],
    'LLaVA-1.5-7B': [36.7],
    'SeVa-7B': [34.9],
    'LLaVA-1.5-13B': [37.2],
    'SeVa-13B': [36.6],
  }),
];
