// SPDX-License-Identifier: Apache-2.0
// What the two papers print, to stand beside one's own rows. SeVa: Zhu et al. 2024 (2404.10501) table 1 and 2; Li et al.
// 2024 (2402.10884), main table and table 7 (noisy-image MT-Bench). Units as `score`: percent, MT-Bench 1-10.

export interface PublishedRow {
  method: string;
  paper: 'SeVa' | 'Li et al.';
  /** Score by split. */
  scores: Record<string, number>;
}

const SEVA_MAIN = [
  'mmvet',
  'llava-bench',
  'mmbench',
  'mmbench-cn',
  'pope',
  'seed-bench',
  'shr',
  'scienceqa',
  'gqa',
] as const;

// Columns of table 2 in the order above; null where the paper has none.
const SEVA_TABLE: [string, ...(number | null)[]][] = [
  ['BLIP-2 (FLAN-T5)', 22.4, 38.1, null, null, 85.3, 46.4, null, 61.0, 41.0],
  ['InstructBLIP (Vicuna-7B)', 26.2, 60.9, 36.0, 23.7, null, 53.4, null, 60.5, null],
  ['InstructBLIP (Vicuna-13B)', 25.6, 58.2, null, null, 78.9, null, 51.2, 63.1, 49.5],
  ['Shikra (Vicuna-13B)', null, null, 58.8, null, null, null, null, null, null],
  ['IDEFICS-9B', null, null, 48.2, 25.2, null, null, null, null, 38.4],
  ['IDEFICS-80B', null, null, 54.5, 38.1, null, null, null, null, 45.2],
  ['Qwen-VL', null, null, 38.2, 7.4, null, 56.3, null, 67.1, 59.3],
  ['Qwen-VL-chat', null, null, 60.6, 56.7, null, 58.2, null, 68.2, 57.5],
  ['LLaVA (Vicuna-7B)', 26.7, 63.0, 34.1, 14.1, null, 25.5, null, 38.5, null],
  ['LLaVA-1.5-7B', 30.5, 63.4, 64.3, 58.3, 85.9, 65.7, 36.7, 66.8, 62.0],
  ['SeVa-7B', 37.2, 72.2, 65.6, 59.2, 86.7, 65.8, 34.9, 67.5, 60.7],
  ['LLaVA-1.5-13B', 35.4, 70.7, 67.7, 63.6, 85.9, 68.2, 37.2, 71.6, 63.3],
  ['SeVa-13B', 41.0, 80.1, 68.7, 64.8, 87.4, 68.6, 36.6, 71.2, 63.4],
];

// Table 1: MM-Vet by capability, POPE by split (LLaVA-1.5-7B and the DPO data made from it).
const SEVA_PARTS: Record<string, [string, Record<string, number>][]> = {
  mmvet: [
    ['LLaVA-1.5-7B', { rec: 35.7, ocr: 21.9, know: 17.4, gen: 19.7, spat: 24.7, math: 7.7 }],
    ['SeVa-7B', { rec: 40.2, ocr: 29.9, know: 21.8, gen: 23.9, spat: 34.3, math: 11.2 }],
  ],
  pope: [
    ['LLaVA-1.5-7B', { random: 89.5, popular: 86.7, adversarial: 81.7 }],
    ['SeVa-7B', { random: 89.4, popular: 87.1, adversarial: 83.6 }],
  ],
};

const LI_MAIN = ['mmvet', 'llava-bench', 'pope', 'mmbench', 'mt-bench', 'alpaca-eval'] as const;

const LI_TABLE: [string, ...(number | null)[]][] = [
  ['Vicuna-1.5-13B', null, null, null, null, 6.57, 81.4],
  ['Vicuna-1.5-7B', null, null, null, null, 6.17, null],
  ['LLaVA-1.5-7B', 30.5, null, null, null, 5.87, null],
  ['DPO (7B)', 39.8, null, null, null, 6.228, null],
  ['LLaVA-1.5-13B', 36.3, 73.1, 85.9, 67.4, 5.99, 79.3],
  ['LLaVA-RLHF-13B', 37.2, 76.8, 86.9, 60.1, 6.18, 81.0],
  ['Standard SFT', 36.5, 63.7, 85.0, 65.4, 5.01, 50.2],
  ['SteerLM', 35.2, 67.0, 87.8, 65.1, 5.7, 68.8],
  ['Rejection sampling', 38.0, 70.6, 88.3, 67.6, 6.22, 74.9],
  ['DPO', 41.2, 79.1, 87.0, 66.8, 6.73, 86.4],
];

const NOISY_IMAGE: [string, number][] = [
  ['Vicuna-1.5-13B', 6.57],
  ['Vicuna-1.5-7B', 6.17],
  ['BLIP-2', 1.93],
  ['InstructBLIP', 4.73],
  ['LLaVA-1.5-13B', 5.92],
  ['DPO', 6.63],
];

const CONSISTENCY: [string, number, number, number, number][] = [
  ['0.2', 7.3, 7.75, 6.45, 6.95],
  ['0.4', 7.11, 7.98, 6.28, 7.32],
  ['0.5', 7.39, 7.93, 6.52, 7.29],
  ['0.7', 7.81, 8.18, 7.1, 7.64],
  ['0.9', 8.43, 8.53, 7.87, 7.98],
];

/** The papers' rows for a benchmark; their figure stands in the split that it is the score of. */
export function publishedRows(benchmark: string): PublishedRow[] {
  const split = benchmark === 'seed-bench' || benchmark === 'scienceqa' ? 'image' : 'all';
  const seva = columnRows('SeVa', SEVA_TABLE, SEVA_MAIN.indexOf(benchmark as (typeof SEVA_MAIN)[number]), split);
  const parts = new Map(SEVA_PARTS[benchmark]);
  for (const row of seva) Object.assign(row.scores, parts.get(row.method));
  const chinese =
    benchmark === 'mmbench' ? columnRows('SeVa', SEVA_TABLE, SEVA_MAIN.indexOf('mmbench-cn'), 'all (cn)') : [];
  for (const { method, scores } of chinese)
    Object.assign(seva.find((row) => row.method === method)?.scores ?? {}, scores);
  const li = columnRows('Li et al.', LI_TABLE, LI_MAIN.indexOf(benchmark as (typeof LI_MAIN)[number]), 'all');
  const noisy = benchmark !== 'mt-bench' ? [] : NOISY_IMAGE.map(([method, score]) => liNoisy(method, score));
  return [...seva, ...li, ...noisy, ...(benchmark === 'consistency' ? consistencyRows() : [])];
}

function columnRows(
  paper: PublishedRow['paper'],
  table: [string, ...(number | null)[]][],
  column: number,
  split: string,
) {
  if (column === -1) return [];
  return table.flatMap(([method, ...values]): PublishedRow[] => {
    const score = values[column];
    return typeof score === 'number' ? [{ method, paper, scores: { [split]: score } }] : [];
  });
}

function liNoisy(method: string, score: number): PublishedRow {
  return { method: `${method}, noisy image`, paper: 'Li et al.', scores: { all: score } };
}

function consistencyRows(): PublishedRow[] {
  return CONSISTENCY.flatMap(([temperature, llavaQ, sevaQ, llavaA, sevaA]): PublishedRow[] => [
    {
      method: `LLaVA-1.5-7B (Q ${llavaQ}, A ${llavaA})`,
      paper: 'SeVa',
      scores: { [`temperature=${temperature}`]: (llavaQ + llavaA) / 2 },
    },
    {
      method: `SeVa-7B (Q ${sevaQ}, A ${sevaA})`,
      paper: 'SeVa',
      scores: { [`temperature=${temperature}`]: (sevaQ + sevaA) / 2 },
    },
  ]);
}
