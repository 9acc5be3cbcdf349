// SPDX-License-Identifier: Apache-2.0
// Inputs and outputs of the engine: ids, pixels and numbers. Each request crosses the addon border once.
import type { SamplingSettings } from '../records/sampling-settings.ts';

/** Everything about an image but its pixels. */
export interface ImageShape {
  /** Of the picture, upright, before it was resized. */
  height: number;
  width: number;
  /** Inputs of the vision tower, in order. */
  crops: { height: number; width: number }[];
}

/** One image as the tower sees it, and the noise that the engine adds to each crop after normalising. */
export interface ImageInput extends ImageShape {
  crops: ImageCrop[];
  noise?: NoiseRecipe;
}

export interface ImageCrop {
  height: number;
  width: number;
  /** RGB, rows from the top, [height * width * 3]. */
  pixels: Uint8Array;
}

/** Tokens of an image. */
export interface ImageLayout {
  /** Lengths of its runs of image tokens, in order; text may stand between two of them. */
  runs: number[];
  /** Their sum. */
  numRows: number;
  /** Positions that it takes of the model's, which may be fewer than its rows. */
  positionSpan: number;
  /** Rows of the frozen tower's output. */
  numFeatures: number;
}

/** How 8-bit pixels become the tower's numbers: (pixel * scale - mean) / std of each channel. */
export interface Normalisation {
  scale: number;
  mean: readonly number[];
  std: readonly number[];
}

/** x_t = sqrt(abar[step]) x + sqrt(1 - abar[step]) eps on the normalised tensor, unclipped; eps is counter-based. */
export interface NoiseRecipe {
  step: number;
  seed: number;
}

export interface GenerateRequest extends SamplingSettings {
  /** Canonical prompt ids, the image token once per image row. */
  promptIds: Int32Array;
  images: ImageInput[];
  /** UTF-8 byte strings that end an answer. */
  stopStrings: Uint8Array[];
  /** Ids that end an answer; empty: the model's own. */
  eosTokenIds: Int32Array;
  seed: number;
  /** RNG key of the draws, besides seed and token index: rngKey() of a text. */
  rngKey: bigint;
  /** Number of the first of these answers among the draws. */
  firstSample: number;
}

export interface Generated {
  /** The answer's ids, its end token included when it came to one. */
  ids: Int32Array;
  /** Summed log-probability of ids: full vocabulary, temperature 1, nats. */
  logps: number;
  finishReason: 'stop' | 'length' | 'repetition';
}

export interface ScoreRequest {
  promptIds: Int32Array;
  images: ImageInput[];
  /** Responses that share the prompt. */
  branches: Int32Array[];
}

/** Log-probability of each token of one branch, nats. */
export type Scored = Float32Array;

/** Quantization of the language model's linear layers when a model is opened. */
export type Quantize = 'none' | 'int8' | 'nf4';

/** Properties of a loaded model. */
export interface PolicyInfo {
  /** As in config.json. */
  modelType: string;
  device: 'cpu' | 'cuda';
  dtype: 'f32' | 'bf16';
  /** The quantization it was opened with; `none` for a checkpoint that is already in 4 bits. */
  quantize: Quantize;
  vocabSize: number;
  maxPositions: number;
  eosIds: number[];
  /** Absent for a text-only model. */
  vision?: {
    imageTokenId: number;
  };
  /** Names in transformers' module tree, for adapters. */
  modules: {
    /** The decoder, with a dot after it. */
    text: string;
    /** The connector's parts that may be trained. */
    connector: string[];
    /** Their tensors. */
    connectorParts: string[];
  };
  numParameters: number;
  /** How the file stores the weights. */
  storedDtype: string;
  threads: number;
  /** Notes for the user: parts of the checkpoint or an adapter that were read differently than stored. */
  notes: string[];
}

/** A loaded model: generates and scores. */
export interface PolicyEngine {
  readonly info: PolicyInfo;
  /** Throws EngineError{"request"} for an image that the tower does not take. */
  layout(shape: ImageShape): ImageLayout;
  generate(request: GenerateRequest, signal?: AbortSignal): Promise<Generated[]>;
  score(request: ScoreRequest, signal?: AbortSignal): Promise<Scored[]>;
  /** Absent in an engine that has no batches. */
  readonly pacing?: Pacing;
}

/** Makes batches a function of the requests, not of their timing. */
export interface Pacing {
  /** Paced, the engine computes only while an advance() runs. */
  pace(paced: boolean): void;
  /** Computes until a request ends or none is left; settles after that request's promise. */
  advance(): Promise<void>;
}
