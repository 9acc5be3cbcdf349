// SPDX-License-Identifier: Apache-2.0
// What the page shows, section by section, and what gathers a section.
import type { VprefRecord } from '../../records/record.ts';
import type { Picture } from './thumbnails.ts';

/** One run's curves: a column per metric. */
export interface Curves {
  name: string;
  keys: string[];
  /** columns[0] is the step, columns[k + 1] belongs to keys[k]; null where a step lacks it. */
  columns: (number | null)[][];
  /** Steps of the run; of a long one fewer are in the columns. */
  numSteps: number;
  marks?: Mark[];
  /** The best evaluation, and the metric that says so. */
  best?: { step: number; key: string };
}

/** What train warned of at a step, and what to do. */
export interface Mark {
  step: number;
  name: string;
  message: string;
}

export type Interval = [low: number, high: number];

/** Null: not known of that run. */
export type RunValue = number | string | null | { value: number; interval: Interval };

export interface RunColumn {
  group: 'Settings' | 'Training' | 'Held out' | 'Cost' | 'Scores' | 'Watching';
  title: string;
  unit?: 'seconds' | 'bytes';
  /** One per run. */
  values: RunValue[];
}

/** The runs of all files side by side; columns that would be empty are not there. */
export interface RunTable {
  names: string[];
  columns: RunColumn[];
  /** Settings that all runs have alike. */
  shared: [name: string, value: string][];
  numLeftOut: number;
}

/** Scores of one benchmark against a parameter. */
export interface ByChart {
  param: string;
  benchmark: string;
  isLog: boolean;
  /** Of a parameter that is no number: the words at 0, 1, 2... */
  categories?: string[];
  lines: ByLine[];
  /** Scores of files without params, such as those of the model before. */
  baselines: { name: string; score: number; interval?: Interval }[];
  /** Other parameters, alike in all rows. */
  same: [name: string, value: string][];
  numLeftOut: number;
}

export interface ByLine {
  name: string;
  points: ByPoint[];
}

export interface ByPoint {
  x: number;
  mean: number;
  /** Of each repeat. */
  scores: { score: number; interval?: Interval }[];
}

/** One score row with the file it stands in. */
export interface ScoreLine {
  run: string;
  benchmark: string;
  split: string;
  [figure: string]: unknown;
}

/** A pair as the browser lists it. */
export interface PairItem {
  id: string;
  run: string;
  prompt: string;
  chosen: string;
  rejected: string[];
  chosenScore?: number;
  rejectedScore?: number | number[];
  rule: string;
  view: string;
  /** Indices into ReportData.images; -1 where a picture is not shown. */
  images: number[];
  rejectedImages: number[];
  scores?: (Record<string, number> | null)[];
  responses?: string[];
  /** Of chosen, then of each rejected answer. */
  doubtfulClaims?: DoubtfulClaim[][];
}

export interface DoubtfulClaim {
  text: string;
  pYes: number;
}

/** The answers of a record whose claims were checked, and that is no pair. */
export interface CheckedAnswers {
  id: string;
  run: string;
  prompt: string;
  images: number[];
  answers: { text: string; name: string; numClaims: number; doubtful: DoubtfulClaim[] }[];
}

/** One prompt's answers over the steps of training. */
export interface SampledPrompt {
  id: string;
  prompt: string;
  images: number[];
  /** An answer stands once for the steps in which it stayed. */
  runs: { run: string; answers: { from: number; to: number; text: string }[]; numLeftOut: number }[];
}

/** Rows of one file by what they carry. */
export interface FileCounts {
  run: string;
  rows: number;
  withViews: number;
  withResponses: number;
  annotated: number;
  pairs: number;
  withReference: number;
  failed: Record<string, number>;
}

export interface JudgeSummary {
  run: string;
  judge: string;
  guide: string;
  entries: number;
  outcomes: Record<string, number>;
  usage: Record<string, number>;
  /** Over records that the judge has scored more than once. */
  agreement: Agreement;
}

/** What --summary says of one run of a stage. */
export interface StageSummary {
  run: string;
  stage: string;
  read: number;
  /** Absent where the run wrote no records. */
  written?: number;
  /** Rows that gave none, by reason. */
  dropped: Record<string, number>;
  /** Answers left out of records that gave other rows, by reason. */
  leftOut: Record<string, number>;
  failed: number;
  /** What else the stage says of itself, in words. */
  notes: string[];
  requests?: number;
  cached?: number;
  tokens?: number;
  /** US dollars; null where the price is not known, absent where nothing was bought. */
  cost?: number | null;
}

/** How two judges of one guide agree over the records that both have scored. */
export interface JudgePair {
  run: string;
  guide: string;
  judges: [string, string];
  agreement: Agreement;
}

/** By metric: share of equal scores, mean absolute difference, scores compared. */
export type Agreement = Record<string, { equal: number; meanDifference: number; n: number }>;

/** Everything the page needs; images are not read before thumbnails.ts makes pictures of them. */
export interface ReportData {
  title: string;
  runs: RunTable;
  curves: Curves[];
  byCharts: ByChart[];
  scores: ScoreLine[];
  samples: SampledPrompt[];
  pairs: PairItem[];
  checked: CheckedAnswers[];
  images: Picture[];
  files: FileCounts[];
  judges: JudgeSummary[];
  judgePairs: JudgePair[];
  stages: StageSummary[];
  /** What the page does not hold, by section. */
  leftOut: { curves: number; scores: number; samples: number; pairs: number; checked: number };
}

export type JsonObject = Record<string, unknown>;

/** Gathers one section of the page from rows of a kind. */
export interface RowSection<Data> {
  /** Takes a row of the file `run`; false when it is of another kind. */
  take(run: string, row: JsonObject): boolean;
  data(): Data;
}

/** The same from records, which belong to several sections. */
export interface RecordSection<Data> {
  take(run: string, record: VprefRecord): void;
  data(): Data;
}
