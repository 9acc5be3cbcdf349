// SPDX-License-Identifier: Apache-2.0
// SeVa: Zhu et al. 2024, 2404.10501.
// Mean of Q- and A-consistency per temperature. The paper does not explain the row labelled 50.
import { publishedRows } from '../published.ts';

export const published = [
  ...publishedRows(
    'SeVa table 5',
    ['temperature=0.2', 'temperature=0.4', 'temperature=0.5', 'temperature=0.7', 'temperature=0.9', 'temperature=50'],
    {
      'LLaVA-1.5-7B': [6.875, 6.695, 6.955, 7.455, 8.15, 7.345],
    },
  ),
  ...publishedRows(
    'SeVa table 5',
    ['temperature=0.2', 'temperature=0.4', 'temperature=0.5', 'temperature=0.7', 'temperature=0.9', 'temperature=50'],
    {
      'SeVa-7B': [7.35, 7.65, 7.61, 7.91, 8.255, 8.25],
    },
  ),
];
