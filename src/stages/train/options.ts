// SPDX-License-Identifier: Apache-2.0
// Options of a training run, and its progress reports.
import type { TrainerSettings } from '../../engine/train-requests.ts';
import type { Row } from '../../flow/stage.ts';
import type { Cost } from './cost.ts';
import type { EvalMetric } from './history.ts';
import type { EndRow, MetricRow } from './metrics.ts';

/** Where a run is. */
export type TrainProgress =
  | { phase: 'reference'; done: number; total: number }
  | { phase: 'steps'; done: number; total: number; row: MetricRow };

export interface HeldOutInput {
  rows: Row[];
  /** Steps between two evaluations; absent: an epoch's. */
  every?: number | undefined;
  /** Evaluations without gain that end the run; 0: none do. */
  patience: number;
  /** What says which state the run ends in; absent without patience: the last. */
  metric?: EvalMetric | undefined;
}

export interface SampleInput {
  /** Prompts that the model of the moment answers. */
  rows: Row[];
  /** Steps between two rounds of answers; absent: an epoch's. */
  every?: number | undefined;
}

/** What came of a run that was not stopped. */
export interface TrainEnd extends Cost {
  ranks: number;
  /** Of the rank with the most. */
  peakBytes: number;
  end: EndRow | undefined;
}

export interface TrainOptions {
  /** Output directory: the adapter at its top when the run is whole, checkpoints below. */
  dir: string;
  settings: TrainerSettings;
  batchSize: number;
  shuffle: boolean;
  saveEvery: number;
  keepCheckpoints: number;
  resume: boolean;
  lossOn: 'last' | 'all';
  /** Fingerprint of the adapter that training started from. */
  initAdapter?: string;
  /** Whether the model before the first step is the one that the stored sums say: rewards are 0 then. */
  startsAtReference: boolean;
  /** Rows that are not trained on, and what is done with their metrics. */
  heldOut?: HeldOutInput | undefined;
  /** Answered while training, into DIR/samples.ndjson. */
  samples?: SampleInput | undefined;
  /** File for the first step's gradients; the run ends after writing it when there are no steps to do. */
  saveGradients?: string | undefined;
  stop: AbortSignal;
  /** What stopped the run, as a number above 0: of several ranks the largest is what train() returns. */
  stopCode?(): number;
  note(message: string): void;
  warn(message: string): void;
  /** Called once: the step whose state the run starts in, and whether that state has been evaluated. */
  onStart?(step: number, hasEvaluated: boolean): void;
  onEnd?(end: TrainEnd): void;
  onProgress(progress: TrainProgress): void;
}
