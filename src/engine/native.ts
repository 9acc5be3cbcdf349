// SPDX-License-Identifier: Apache-2.0
// The types of all that native/addon exports.
import type { LoraShapes } from './lora-shapes.ts';
import type {
  BaseForm,
  Generated,
  GenerateRequest,
  ImageInput,
  ImageLayout,
  ImageShape,
  Normalisation,
  Quantize,
} from './requests.ts';
import type { LossNeeds, MemoryPlan, RowSums, StepResult, TrainerSettings, TrainRow } from './train-requests.ts';

export interface Binding {
  Policy: {
    /** Rejects with an engine error for an invalid checkpoint. */
    load(options: NativeEngineOptions): Promise<NativePolicy>;
  };
  Trainer: {
    /** Uses the policy's engine and weights. `initAdapter`: PEFT directory, or "". */
    create(policy: NativePolicy, settings: NativeTrainerSettings, initAdapter: string): Promise<NativeTrainer>;
  };
  /** Inputs that the terms of a loss need; throws an engine error for an unknown name. */
  lossNeeds(text: string): LossNeeds;
  /** Ends every rank of this run, even ranks that have not joined; returns only if it cannot. */
  abortRanks(exitCode: number): void;
  /** Name and version of the MPI that vpref_mpi.so was built with; throws an engine error if there is none. */
  mpiLibrary(): string;
  /** The loss of rows that were scored, averaged as that of a step. */
  meanLoss(
    settings: Pick<TrainerSettings, 'loss' | 'lossOptions'>,
    rows: NativeLossRow[],
    points: { kl: number; rewardMean: number },
  ): number;
  /** The module paths of the decoder's linears, layer by layer. */
  linearPaths(policy: NativePolicy): Promise<string[]>;
  losses(): { name: string; source: string }[];
  /** The numbers that losses read, as flags. */
  hyperparameters(): ({ name: string; default: number; helpValue: string; summary: string } & {
    [bound in 'min' | 'above' | 'max']?: number;
  })[];
  /** The names of a decoder layer's linears, the possible targets of an adapter. */
  linears(): string[];
  /** Writes the weight files with merged adapters, or with the trained weights. */
  mergeModel(policy: NativePolicy, target: MergeTarget): Promise<MergeResult>;
  buildInfo(): NativeBuildInfo;
  /** Memory of a checkpoint and a training step in one form; reads configuration and headers only. Throws an engine error. */
  planForm(options: NativeEngineOptions, step: NativeFormStep): NativeFormPlan;
  /** One linear layer through op and backend, against sums in double precision. */
  probeDevice(device: 'cpu' | 'cuda'): { op: string; maxError: number; seconds: number };
}

export interface NativeEngineOptions {
  modelDir: string;
  adapterDirs: string[];
  device: 'cpu' | 'cuda';
  dtype: 'auto' | 'f32' | 'bf16';
  quantize: Quantize;
  /** A file to read the packed weights from, or to write them to; '': none. */
  quantizeCache: string;
  /** 0: one per core. */
  threads: number;
  /** 0: the engine's default. */
  batchTokens: number;
  tokenBytes: Uint8Array[];
  /** Normalisation of images; absent for a text-only model. */
  normalisation?: Normalisation;
}

export interface NativePolicy {
  info(): NativeInfo;
  layout(shape: ImageShape): ImageLayout;
  memoryPlan(): string;
  generate(request: GenerateRequest): NativePending<Generated[]>;
  score(request: NativeScoreRequest): NativePending<NativeScored[]>;
  cancel(id: number): void;
  /** Paced, the engine computes only while an advance() runs. */
  pace(paced: boolean): void;
  /** Computes until a request ends or none is left; settles after that request's promise. */
  advance(): Promise<void>;
  close(): Promise<void>;
}

/** A queued request; a refused one has id 0 and a rejected promise. */
export interface NativePending<T> {
  id: number;
  promise: Promise<T>;
}

export interface NativeInfo {
  modelType: string;
  hasVision: boolean;
  imageTokenId: number;
  /** The decoder's path in transformers' module tree, with trailing dot. */
  textModule: string;
  /** Names of the connector's parts in modules_to_save. */
  connectorModules: string[];
  /** Names of the parts' tensors. */
  connectorParts: string[];
  vocabSize: number;
  maxPositionEmbeddings: number;
  eosTokenIds: Int32Array;
  device: 'cpu' | 'cuda';
  dtype: 'f32' | 'bf16';
  quantize: Quantize;
  /** What the checkpoint holds the decoder's linears as. */
  storedForm: BaseForm;
  storedDtype: string;
  numParameters: number;
  threads: number;
  notes: string[];
}

export interface NativeScoreRequest {
  images: ImageInput[];
  segments: { parent: number; ids: Int32Array; images: Int32Array; scored: boolean }[];
}

export interface NativeScored {
  segment: number;
  perTokenLogps: Float32Array;
  logps: number;
}

export interface NativeFormStep {
  settings: NativeTrainerSettings;
  /** [rows, targets, imageRows, features, pixelBytes]. */
  pair: Int32Array;
  cachedTokens: number;
  /** Of the host, for all; a run takes `share` of what its parameters leave. A GPU's own memory is asked for. */
  freeBytes: number;
  share: number;
}

/** Bytes of the engine, in one form of its weights. */
export interface NativeFormPlan {
  /** NativeInfo.storedForm. */
  stored: BaseForm;
  dtype: 'f32' | 'bf16';
  storedDtype: string;
  weightBytes: number;
  /** Weights, a step of the batch and the cached tokens. */
  samplingBytes: number;
  stepBytes: number;
  /** Recompute level. */
  level: number;
  /** Of the device. */
  freeBytes: number;
  totalBytes: number;
}

/** TrainerSettings plus settings that do not change results. */
export interface NativeTrainerSettings extends TrainerSettings, LoraShapes {
  /** Maximum bytes of parameters and activations; 0: no limit on the CPU, the free memory on CUDA. */
  memoryBudget: number;
  /** Processes started by the launcher; 1 joins no others. */
  numRanks: number;
  /** Whether to shard the optimizer's state over the ranks: 0, 1, or -1 for: if it does not fit otherwise. */
  zero: number;
}

/** Traffic of flat collectives: the buffers' bytes, and the bytes that a ring sends per rank for them. */
export interface NativeVolume {
  calls: number;
  payloadBytes: number;
  sentBytes: number;
  /** Waiting time not overlapped with computation. */
  waitSeconds: number;
}

export interface MergeTarget {
  dir: string;
  dtype: 'f32' | 'f16';
  /** The base's quantization during the training of the adapters. */
  trainedOn: Quantize;
}

export interface MergeResult {
  /** Number of linear layers with an adapter. */
  numMerged: number;
  /** Matrices that the files hold packed; they are written dequantised. */
  numUnpacked: number;
  /** Whether the files have an untied head. */
  untied: boolean;
  /** Whether the delta of the linears is not zero; else its shares below are 0. */
  hasDelta: boolean;
  /** Change of the merged linears' weights by packing as trainedOn, as a share of their norm and of the delta's; only those that the files do not hold packed. */
  packingChange: number;
  packingChangeOfDelta: number;
  /** Loss of the merged delta by rounding to the dtype, as a share of its norm. */
  relativeError: number;
}

export type NativeLossRow = Required<Pick<TrainRow, 'numRejected' | 'label' | 'weight' | 'beta'>> &
  Pick<TrainRow, 'ref'> &
  RowSums;

export interface NativeTrainer {
  /** sizes: [rows, targets, imageRows, features, pixelBytes] of each row; stepEnds: rows before the end of each step; freeBytes: Infinity for no limit. */
  plan(sizes: Int32Array, stepEnds: Int32Array, freeBytes: number): Promise<MemoryPlan>;
  step(rows: TrainRow[]): Promise<StepResult>;
  score(rows: TrainRow[], adapterOn: boolean): Promise<RowSums[]>;
  saveGradients(rows: TrainRow[], file: string): Promise<StepResult>;
  saveAdapter(file: string): Promise<void>;
  saveState(file: string): Promise<void>;
  /** Returns the steps done. */
  restore(file: string): Promise<number>;
  /** The largest value of all ranks. */
  agree(value: number): Promise<number>;
  /** Every rank's text, by rank. */
  exchange(text: string): Promise<string[]>;
  /** Ends the collective work of ranks; no call may follow. */
  leave(): Promise<void>;
  info(): {
    numTrained: number;
    peakBytes: number;
    memoryPlan: string;
    rank: number;
    numRanks: number;
    zero: boolean;
    trainsProjector: boolean;
    /** Tensors of the initial adapter that are not trained. */
    numFixed: number;
    /** Mean of all rewards so far; 0 if the loss uses none. */
    rewardMean: number;
    volume: NativeVolume;
  };
  /** The running step ends with an engine error "cancelled" and changes nothing. */
  cancel(): void;
}

export interface NativeBuildInfo {
  backends: ('cpu' | 'cuda')[];
  matrixLibrary: string;
  cpuFeatures: string[];
  compiler: string;
}
