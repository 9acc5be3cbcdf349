// SPDX-License-Identifier: Apache-2.0
// Options of a training run, and its progress reports.
import type { TrainerSettings } from '../../engine/train-requests.ts';
import type { Row } from '../../flow/stage.ts';
import type { Cost } from './cost.ts';
import type { EvalMetric } from './history.ts';
import type { EndRow, MetricRow } from './metrics.ts';

/** Progress of a run. */
export type TrainProgress =
  | { phase: 'reference'; done: number; total: number }
  | { phase: 'steps'; done: number; total: number; row: MetricRow };

export interface HeldOutInput {
  rows: Row[];
  /** Steps between two evaluations; absent: one epoch. */
  every?: number | undefined;
  /** Evaluations without improvement that end the run; 0: never. */
  patience: number;
  /** Metric of the best state; absent without patience: the last state is kept. */
  metric?: EvalMetric | undefined;
}

export interface SampleInput {
  /** Prompts to sample during training. */
  rows: Row[];
  /** Steps between two rounds of samples; absent: one epoch. */
  every?: number | undefined;
}

/** The result of a run that was not stopped. */
export interface TrainEnd extends Cost {
  ranks: number;
  /** Peak of the rank with the most. */
  peakBytes: number;
  end: EndRow | undefined;
}

export interface TrainOptions {
  /** Output directory: the adapter at its top after a complete run, checkpoints below. */
  dir: string;
  settings: TrainerSettings;
  batchSize: number;
  shuffle: boolean;
  saveEvery: number;
  keepCheckpoints: number;
  resume: boolean;
  lossOn: 'last' | 'all';
  /** Fingerprint of the initial adapter. */
  initAdapter?: string;
  /** Whether to check that the first step's rewards are 0, as they are if the stored sums belong to the initial model. */
  startsAtReference: boolean;
  /** Rows that are not trained on, and the use of their metrics. */
  heldOut?: HeldOutInput | undefined;
  /** Sampled during training, into DIR/samples.ndjson. */
  samples?: SampleInput | undefined;
  /** File for the first step's gradients. With no steps to do, the run ends after writing it. */
  saveGradients?: string | undefined;
  stop: AbortSignal;
  /** The stop code, above 0. With several ranks train() returns the largest. */
  stopCode?(): number;
  note(message: string): void;
  warn(message: string): void;
  /** Called once with the initial step, and whether its state has been evaluated. */
  onStart?(step: number, hasEvaluated: boolean): void;
  onEnd?(end: TrainEnd): void;
  onProgress(progress: TrainProgress): void;
}
