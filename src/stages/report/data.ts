// SPDX-License-Identifier: Apache-2.0
// The page's data by section, and the interface of a section's collector.
import type { VprefRecord } from '../../records/record.ts';
import type { Picture } from './thumbnails.ts';

/** One run's curves: a column per metric. */
export interface Curves {
  name: string;
  keys: string[];
  /** columns[0] is the step, columns[k + 1] belongs to keys[k]; null if a step lacks it. */
  columns: (number | null)[][];
  /** Steps of the run. The columns of a long run hold fewer. */
  numSteps: number;
  marks?: Mark[];
  /** The best evaluation, and its metric. */
  best?: { step: number; key: string };
}

/** A warning of train at a step, with advice. */
export interface Mark {
  step: number;
  name: string;
  message: string;
}

export type Interval = [low: number, high: number];

/** Null: unknown for that run. */
export type RunValue = number | string | null | { value: number; interval: Interval };

export interface RunColumn {
  group: 'Settings' | 'Training' | 'Held out' | 'Cost' | 'Scores' | 'Watching';
  title: string;
  unit?: 'seconds' | 'bytes';
  /** One value per run. */
  values: RunValue[];
}

/** The runs of all files side by side, without empty columns. */
export interface RunTable {
  names: string[];
  columns: RunColumn[];
  /** Settings that all runs share. */
  shared: [name: string, value: string][];
  numLeftOut: number;
}

/** Scores of one benchmark against a parameter. */
export interface ByChart {
  param: string;
  benchmark: string;
  isLog: boolean;
  /** For a parameter that is not a number: the words at 0, 1, 2... */
  categories?: string[];
  lines: ByLine[];
  /** Scores of files without params, such as those of the untrained model. */
  baselines: { name: string; score: number; interval?: Interval }[];
  /** Other parameters, equal in all rows. */
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
  /** Values of the repeats. */
  scores: { score: number; interval?: Interval }[];
}

/** One score row with its file. */
export interface ScoreLine {
  run: string;
  benchmark: string;
  split: string;
  [figure: string]: unknown;
}

/** A pair in the page's list. */
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
  /** Indices into ReportData.images; -1 for an image that is not shown. */
  images: number[];
  rejectedImages: number[];
  scores?: (Record<string, number> | null)[];
  responses?: string[];
  /** Claims of chosen, then of each rejected response. */
  doubtfulClaims?: DoubtfulClaim[][];
}

export interface DoubtfulClaim {
  text: string;
  pYes: number;
}

/** The responses of an unpaired record with checked claims. */
export interface CheckedAnswers {
  id: string;
  run: string;
  prompt: string;
  images: number[];
  answers: { text: string; name: string; numClaims: number; doubtful: DoubtfulClaim[] }[];
}

/** The responses to one prompt over the steps of training. */
export interface SampledPrompt {
  id: string;
  prompt: string;
  images: number[];
  /** A response appears once for consecutive steps without change. */
  runs: { run: string; answers: { from: number; to: number; text: string }[]; numLeftOut: number }[];
}

/** Rows of one file by kind. */
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
  /** Over records that the judge scored more than once. */
  agreement: Agreement;
}

/** The --summary of one run of a stage. */
export interface StageSummary {
  run: string;
  stage: string;
  read: number;
  /** Absent if the run wrote no records. */
  written?: number;
  /** Dropped rows, by reason. */
  dropped: Record<string, number>;
  /** Dropped responses of records that gave other rows, by reason. */
  leftOut: Record<string, number>;
  failed: number;
  /** Other facts of the run, as text. */
  notes: string[];
  requests?: number;
  cached?: number;
  tokens?: number;
  /** US dollars; null if the price is unknown, absent if nothing was billed. */
  cost?: number | null;
}

/** Agreement of two judges under one guide, over the records that both scored. */
export interface JudgePair {
  run: string;
  guide: string;
  judges: [string, string];
  agreement: Agreement;
}

/** By metric: share of equal scores, mean absolute difference, number of compared scores. */
export type Agreement = Record<string, { equal: number; meanDifference: number; n: number }>;

/** All data of the page. Images are read later, by thumbnails.ts. */
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
  /** Counts of omitted items, by section. */
  leftOut: { curves: number; scores: number; samples: number; pairs: number; checked: number };
}

export type JsonObject = Record<string, unknown>;

/** Gathers one section of the page from rows of a kind. */
export interface RowSection<Data> {
  /** Takes a row of the file `run`; returns false for another kind of row. */
  take(run: string, row: JsonObject): boolean;
  data(): Data;
}

/** Gathers a section from records, which belong to several sections. */
export interface RecordSection<Data> {
  take(run: string, record: VprefRecord): void;
  data(): Data;
}
