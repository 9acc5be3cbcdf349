// SPDX-License-Identifier: Apache-2.0
// Inputs and outputs of the native trainer: one call per step.
import type { LoraPattern } from './lora-shapes.ts';
import type { ImageInput } from './requests.ts';

/** A segment of a row's prefix tree, as in native/model/tree.h. */
export interface TrainSegment {
  /** Index of the parent in the same list, -1 for a root. */
  parent: number;
  /** Ids, with the image token once per image position. */
  ids: Int32Array;
  /** Indices of the row's images in this segment, in order. */
  images: Int32Array;
  /** 0: the chosen (or only) response; 1..K: the rejected; K+1..: the chosen after rejected images; -1: a prompt. */
  branch: number;
  /** 1 for target ids, else 0; absent: all ids of a branch. */
  scored?: Uint8Array;
}

/** One record, tokenised and with its pixels. */
export interface TrainRow {
  id: string;
  segments: TrainSegment[];
  images: ImageInput[];
  numRejected: number;
  numRejectedImages: number;
  /** Whether the response is desirable (KTO, BCO). */
  label: boolean;
  /** Weight in the means of the losses; absent: 1. */
  weight?: number;
  /** Replaces the settings' beta. */
  beta?: number;
  /** Reference sums, one per branch; absent for reference-free losses. */
  ref?: number[];
}

/** Sums of one row's branches, nats. */
export interface RowSums {
  policy: number[];
  numTokens: number[];
}

/** Members of a scored row that a loss reads. */
export type LossRow = Pick<TrainRow, 'numRejected' | 'label' | 'weight' | 'beta' | 'ref'> & RowSums;

export interface StepResult {
  loss: number;
  /** Before clipping. */
  gradNorm: number;
  learningRate: number;
  /** Decoder tokens of the step, image tokens included. */
  numTokens: number;
  /** Mean of all rewards so far, this step included, if the loss reads it (BCO). */
  rewardMean?: number;
  rows: RowSums[];
}

/** Members of a row that a loss reads. */
export interface LossNeeds {
  reference: boolean;
  rejected: boolean;
  rejectedImages: boolean;
  label: boolean;
  /** Whether a loss of the sum learns a response regardless of its label. */
  ignoresLabel: boolean;
  /** Either: a row is a pair if it has a rejected response, else it has a label (BCO). */
  rejectedOrLabel: boolean;
  /** Whether it needs an estimate from the rows of the step (KTO). */
  referencePoint: boolean;
  /** Names of its hyperparameters. */
  hyperparameters: string[];
}

/** The sizes that decide a row's memory. */
export interface RowSize {
  /** Decoder tokens, image tokens included. */
  rows: number;
  targets: number;
  /** Of distinct images: image tokens, tokens of the frozen tower's output, bytes of the crops. */
  imageRows: number;
  features: number;
  pixelBytes: number;
}

/** The memory plan of a run. */
export interface MemoryPlan {
  /** 0 keeps every activation, 3 recomputes whole layers. */
  level: number;
  activationBytes: number;
  /** Decoder tokens of the largest micro-batch. */
  largestBatch: number;
  /** Maximum bytes of activations: negative if everything else already exceeds the memory, Infinity without a limit. */
  budget: number;
}

/** Settings of the native trainer, with the names of native/addon/train_convert.cc. Only those read in TypeScript are listed; the rest are rows of src/cli/train-flags.ts. */
export interface TrainerSettings {
  /** "sigmoid", or a weighted sum: "sigmoid:1,sft:0.1". */
  loss: string;
  /** Hyperparameters of the losses by the engine's names: "label-smoothing". */
  lossOptions: { beta: number } & Record<string, number>;
  loraR: number;
  loraAlpha: number;
  rslora: boolean;
  /** Names of linears, or one "/REGEX/" of full module paths. */
  loraTargets: string[];
  loraPatterns?: LoraPattern[] | undefined;
  loraDropout: number;
  trainLanguageModel: boolean;
  totalSteps: number;
  microBatchTokens: number;
  /** 0..3, or -1: the lowest that fits. */
  recompute: number;
  seed: number;
  [hyperparameter: string]: unknown;
}

/** A model in training, by one process or several. With several, every rank makes the same calls in the same order, except score, meanLoss and peakBytes. */
export interface TrainerEngine {
  /** Only rank 0 reads and writes files. */
  readonly rank: number;
  readonly numRanks: number;
  /** The largest value of all ranks. */
  agree(value: number): Promise<number>;
  /** Every rank's text, by rank. */
  exchange(text: string): Promise<string[]>;
  /** Ends the collective work of ranks. */
  leave(): Promise<void>;
  readonly numTrained: number;
  /** Chooses the recompute level for the rows of each step and takes the memory. Throws EngineError{"memory"} if a given limit is too small. */
  plan(steps: readonly (readonly RowSize[])[]): Promise<MemoryPlan>;
  /** The result of plan(), as text. */
  memoryPlan(): string;
  /** Steps so far, earlier starts of a resumed run included. */
  readonly stepsDone: number;
  /**
   * One optimizer step over the rows of all ranks, of which these are this one's; `rows` of the result are theirs. Aborting on any rank leaves the
   * parameters as they were before it: EngineError "cancelled" on all. A failure of another rank is EngineError "peer".
   */
  step(rows: TrainRow[], signal?: AbortSignal): Promise<StepResult>;
  /** The loss of rows that were scored, averaged as that of a step, with the mean of the rewards that training has seen; `referencePoint`: of kto. */
  meanLoss(rows: readonly LossRow[], referencePoint: number): Promise<number>;
  /** Branch sums without gradients, with the trained adapter on or off. */
  score(rows: TrainRow[], adapterOn: boolean): Promise<RowSums[]>;
  /** Gradients of one step's loss, written as safetensors; no parameter changes. */
  saveGradients(rows: TrainRow[], file: string): Promise<void>;
  /** Adapter (or weights), and with `state` the optimizer too, into an existing directory. */
  save(dir: string, options: { state: boolean }): Promise<void>;
  /** The opposite of save with state. */
  restore(dir: string): Promise<void>;
  peakBytes(): number;
}
