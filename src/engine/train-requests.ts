// SPDX-License-Identifier: Apache-2.0
// Inputs and outputs of the native trainer: one call per step.
import type { LoraPattern } from './lora-shapes.ts';
import type { ImageInput } from './requests.ts';

/** A segment of a row's prefix tree, as native/model/tree.h has it. */
export interface TrainSegment {
  /** Index of the parent in the same list, -1 for a root. */
  parent: number;
  /** Ids, the image token once per image row. */
  ids: Int32Array;
  /** Which of the row's images stand here, in order. */
  images: Int32Array;
  /** 0 the chosen (or only) answer, 1..K the rejected, K+1.. the chosen behind damaged images; -1 for a prompt. */
  branch: number;
  /** Which ids are targets, 1 or 0; absent: all of a branch. */
  scored?: Uint8Array;
}

/** One record, tokenised and with its pixels. */
export interface TrainRow {
  id: string;
  segments: TrainSegment[];
  images: ImageInput[];
  numRejected: number;
  numRejectedImages: number;
  /** Whether the answer is desirable (KTO, BCO). */
  label: boolean;
  /** How much it counts in the means of the losses; absent: 1. */
  weight?: number;
  /** Instead of the settings' beta. */
  beta?: number;
  /** Reference sums, one a branch; absent for losses without a reference. */
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
  /** Decoder rows that the step computed, image rows included. */
  numTokens: number;
  /** Of all rewards so far, this step's included; where the loss reads it (BCO). */
  rewardMean?: number;
  rows: RowSums[];
}

/** Members of a row that a loss reads. */
export interface LossNeeds {
  reference: boolean;
  rejected: boolean;
  rejectedImages: boolean;
  label: boolean;
  /** A loss of the sum learns a response whatever its label is. */
  ignoresLabel: boolean;
  /** Instead of either: a row is a pair when it has a rejected answer, else it has a label (BCO). */
  rejectedOrLabel: boolean;
  /** An estimate from the rows of the step (KTO). */
  referencePoint: boolean;
  /** Names of the hyperparameters that it reads. */
  hyperparameters: string[];
}

/** What decides the memory of a row. */
export interface RowSize {
  /** Of the decoder: tokens and image rows. */
  rows: number;
  targets: number;
  /** Of distinct images: rows among the tokens, rows of what the frozen tower makes of them, bytes of their crops. */
  imageRows: number;
  features: number;
  pixelBytes: number;
}

/** The memory plan of a run. */
export interface MemoryPlan {
  /** 0 keeps every activation, 3 recomputes whole layers. */
  level: number;
  activationBytes: number;
  /** Decoder rows of the micro-batch that needs the most. */
  largestBatch: number;
  /** Bytes that activations may take: negative if everything else already exceeds the memory, Infinity without a limit. */
  budget: number;
}

/** Settings of the native trainer, with the names of native/addon/trainer_object.cc. Only those read in TypeScript are listed; the rest are rows of src/cli/train-flags.ts. */
export interface TrainerSettings {
  /** "sigmoid", or a weighted sum: "sigmoid:1,sft:0.1". */
  loss: string;
  /** Hyperparameters of the losses by the engine's names: "label-smoothing". */
  lossOptions: { beta: number } & Record<string, number>;
  loraR: number;
  loraAlpha: number;
  rslora: boolean;
  /** Names of linears, or one "/REGEX/" of whole module paths. */
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

/** A model being trained, by this process or by several: then every rank calls everything but score, meanLoss and peakBytes, in the same order. */
export interface TrainerEngine {
  /** 0 alone reads and writes files. */
  readonly rank: number;
  readonly numRanks: number;
  /** The largest value of all ranks. */
  agree(value: number): Promise<number>;
  /** Every rank's text, by rank. */
  exchange(text: string): Promise<string[]>;
  /** The orderly end of what ranks do together. */
  leave(): Promise<void>;
  readonly numTrained: number;
  /** Chooses the recompute level for the rows of each step and takes the memory. Throws EngineError{"memory"} where a given limit is too small. */
  plan(steps: readonly (readonly RowSize[])[]): Promise<MemoryPlan>;
  /** What plan() came to, for people. */
  memoryPlan(): string;
  /** Steps done so far, also by the run that was resumed. */
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
