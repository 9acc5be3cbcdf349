// SPDX-License-Identifier: Apache-2.0
// The types of all that native/addon exports.
import type { LoraShapes } from './lora-shapes.ts';
import type {
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
    /** Throws (by rejecting) an engine error for whatever is wrong with the checkpoint. */
    load(options: NativeEngineOptions): Promise<NativePolicy>;
  };
  Trainer: {
    /** Over the policy's engine and weights. `initAdapter`: PEFT directory, or "". */
    create(policy: NativePolicy, settings: NativeTrainerSettings, initAdapter: string): Promise<NativeTrainer>;
  };
  /** Inputs that the terms of a loss need; throws an engine error for an unknown name. */
  lossNeeds(text: string): LossNeeds;
  /** Ends every rank of this run, whether or not it has joined the others; returns only where it cannot. */
  abortRanks(exitCode: number): void;
  /** Name and version of the MPI that vpref_mpi.so was built with; throws an engine error where there is none. */
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
  /** The names of a decoder layer's linears, which an adapter may be put on. */
  linears(): string[];
  /** Writes the weight files with the adapters, or what a trainer made of the weights, in them. */
  mergeModel(policy: NativePolicy, target: MergeTarget): Promise<MergeResult>;
  buildInfo(): NativeBuildInfo;
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
  /** Of images; a text-only model needs none. */
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
  /** Computes until a request ends or none is left; settled after that request's promise. */
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
  /** The decoder's path in transformers' module tree, with a trailing dot. */
  textModule: string;
  /** Names that modules_to_save has for the connector's parts. */
  connectorModules: string[];
  /** Names of their tensors. */
  connectorParts: string[];
  vocabSize: number;
  maxPositionEmbeddings: number;
  eosTokenIds: Int32Array;
  device: 'cpu' | 'cuda';
  dtype: 'f32' | 'bf16';
  quantize: Quantize;
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

/** TrainerSettings with the settings that do not change the numbers. */
export interface NativeTrainerSettings extends TrainerSettings, LoraShapes {
  /** Bytes that parameters and activations may take; 0: no limit on the CPU, the free memory on CUDA. */
  memoryBudget: number;
  /** Processes that the launcher has started; 1 joins nothing. */
  numRanks: number;
  /** Split the optimizer's state over the ranks: 0, 1, or -1 for: when it does not fit otherwise. */
  zero: number;
}

/** Traffic of flat collectives: the buffers' bytes, and the bytes that a ring sends per rank for them. */
export interface NativeVolume {
  calls: number;
  payloadBytes: number;
  sentBytes: number;
  /** Waiting that computing did not hide. */
  waitSeconds: number;
}

export interface MergeTarget {
  dir: string;
  dtype: 'f32' | 'f16';
  /** What the base was packed as when the adapters were trained. */
  trainedOn: Quantize;
}

export interface MergeResult {
  /** Linear layers that had an adapter. */
  numMerged: number;
  /** The files hold an untied head. */
  untied: boolean;
  /** What packing as trainedOn changes of the merged linears' weights, as a share of their norm, and of the delta's. */
  packingChange: number;
  packingChangeOfDelta: number;
  /** What rounding to the dtype loses of the merged delta, as a share of its norm. */
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
  /** The orderly end of what ranks do together; nothing may follow. */
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
    /** Of all rewards that the loss has seen; 0 where it reads none. */
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
