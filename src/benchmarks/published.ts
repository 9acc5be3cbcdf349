// SPDX-License-Identifier: Apache-2.0
// Rows printed in papers. Units as `score`: percent, except MT-Bench and MMHal-Bench ratings.

export type Settings = Readonly<Record<string, string | number>>;

export interface PublishedRow {
  method: string;
  /** Paper and table: "SeVa table 2". */
  source: string;
  /** Score by split. */
  scores: Readonly<Record<string, number>>;
  /** Parameters of these runs in a matrix: `params` of its rows, except the seed. */
  settings?: readonly Settings[];
  /** Training time on 8 A800, if the table has it. */
  hours?: number;
}

/** The printed splits that `ours` lacks, if it has others. Then the scores over all splits are not comparable. */
export function missingSplits(published: readonly PublishedRow[], ours: ReadonlySet<string>): string[] {
  const splits = new Set(published.flatMap(({ scores }) => Object.keys(scores)));
  const parts = [...splits].filter((split) => !isOverall(split));
  return parts.some((split) => ours.has(split)) ? parts.filter((split) => !ours.has(split)) : [];
}

/** "all", "all (cn)". */
export function isOverall(split: string): boolean {
  return split.startsWith('all');
}

/** A figure of a paper that is plotted without numbers. */
export interface DrawnFigure {
  /** Paper and figure: "SeVa figure 7 (b)". */
  source: string;
  shows: string;
  /** Parameter of a matrix on its x axis. */
  by?: string;
}

/** A table's rows: per method a score per split, null if the paper has none. */
export function publishedRows(
  source: string,
  splits: readonly string[],
  methods: Readonly<Record<string, readonly (number | null)[]>>,
): PublishedRow[] {
  return Object.entries(methods).map(([method, values]) => {
    const known = splits.flatMap((split, column) => {
      const score = values[column] ?? null;
      return score === null ? [] : [[split, score] as const];
    });
    return {
      ...{ method, source, scores: Object.fromEntries(known) },
      ...runs[source]?.[method],
    };
  });
}

interface Run {
  settings: Settings[];
  hours?: number;
}

const run = (...settings: Settings[]): Run => ({ settings });
const timed = (hours: number, ...settings: Settings[]): Run => ({ settings, hours });

/** The runs of the rows, by table and method, with the names of examples/make/papers.mk. */
const runs: Readonly<Record<string, Readonly<Record<string, Run>>>> = {
  'SeVa table 1': {
    'SeVa-7B, flip': run({ augmentation: 'flip' }),
    'SeVa-7B, rrcrop': run({ augmentation: 'rrcrop' }),
    'SeVa-7B, autoaugment': run({ augmentation: 'autoaugment' }),
    'SeVa-7B, moco': run({ augmentation: 'moco' }),
    // Its scores equal those of step 800 in the README; no step is printed for the strong noise.
    'SeVa-7B, diffusion (weak)': run({ augmentation: 'diffusion' }, { step: 800 }),
  },
  // The README of the published code has what the table omits.
  'SeVa README': {
    'SeVa-7B, step 500': run({ step: 500 }),
    'SeVa-7B, step 800': run({ step: 800 }, { augmentation: 'diffusion' }),
    'SeVa-7B, moco': run({ augmentation: 'moco' }),
  },
  'SeVa table 2': { 'SeVa-7B': run({ method: 'seva' }) },
  'SeVa table 3': {
    'SFT 2 %, 15k': timed(0.1, { method: 'continued', source: 'all', size: 15000 }),
    'SFT 10 %, 66k': timed(1.2, { method: 'continued', source: 'all', size: 66000 }),
    'SFT 20 %, 132k': timed(2.4, { method: 'continued', source: 'all', size: 132000 }),
    'SFT text and ocr, 102k': timed(1.2, { method: 'continued', source: 'textvqa+ocr_vqa', size: 102000 }),
    'SeVa-7B, 8k': timed(0.3, { size: 8000 }),
    'SeVa-7B, 16k': timed(0.7, { size: 16000 }),
  },
  'SeVa table 4': Object.fromEntries(
    Object.entries({
      TextVQA: 'textvqa',
      'OCR-VQA': 'ocr_vqa',
      GQA: 'gqa',
      COCO: 'coco',
      'Visual Genome': 'vg',
    }).flatMap(([name, source]) =>
      [2, 4, 8, 16].map((k) => [`SeVa-7B, ${name} ${k}k`, run({ source, size: 1000 * k })] as const),
    ),
  ),
  'SeVa table 6': Object.fromEntries(
    [64, 128, 256, 512, 1024, 2048].map((r) => [`SeVa-7B, LoRA ${r}`, run({ 'lora-r': r })]),
  ),
  'Li et al. main table': {
    'Standard SFT': run({ method: 'sft' }),
    SteerLM: run({ method: 'steerlm' }),
    'Rejection sampling': run({ method: 'rs' }),
    DPO: run({ method: 'dpo' }, { share: 100 }, { flip: 0 }),
  },
};
