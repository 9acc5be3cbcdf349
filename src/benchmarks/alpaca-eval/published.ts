// SPDX-License-Identifier: Apache-2.0
// Li et al. 2024, 2402.10884.
import { publishedRows } from '../published.ts';

export const published = [
  ...publishedRows('Li et al. main table', ['all'], {
    'Vicuna-1.5-13B': [81.4],
    'LLaVA-1.5-13B': [79.3],
    'LLaVA-RLHF-13B': [81],
    'Standard SFT': [50.2],
    SteerLM: [68.8],
    'Rejection sampling': [74.9],
    DPO: [86.4],
  }),
];
