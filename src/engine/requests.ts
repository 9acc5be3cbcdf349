// SPDX-License-Identifier: Apache-2.0
// Inputs and outputs of the engine: ids, pixels and numbers. Each request crosses the addon border once.
import type { SamplingSettings } from '../records/sampling-settings.ts';

/** All properties of an image except its pixels. */
export interface ImageShape {
  /** Size of the upright image before resizing. */
  height: number;
  width: number;
  /** Inputs of the vision tower, in order. */
  crops: { height: number; width: number }[];
}

/** One image as input of the tower, and the noise that the engine adds to each crop after normalising. */
export interface ImageInput extends ImageShape {
  crops: ImageCrop[];
  noise?: NoiseRecipe;
}

export interface ImageCrop {
  height: number;
  width: number;
  /** RGB, from the top row, [height * width * 3]. */
  pixels: Uint8Array;
}

/** Tokens of an image. */
export interface ImageLayout {
  /** Lengths of its runs of image tokens, in order; text may stand between two of them. */
  runs: number[];
  /** Sum of the runs. */
  numRows: number;
  /** Number of positions, which may be fewer than its tokens. */
  positionSpan: number;
  /** Rows of the frozen tower's output. */
  numFeatures: number;
}

/** Normalisation of 8-bit pixels: (pixel * scale - mean) / std of each channel. */
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
  /** Canonical prompt ids, with the image token once per image position. */
  promptIds: Int32Array;
  images: ImageInput[];
  /** UTF-8 byte strings that end a response. */
  stopStrings: Uint8Array[];
  /** Ids that end a response; empty: the model's. */
  eosTokenIds: Int32Array;
  seed: number;
  /** RNG key of the draws, besides seed and token index: rngKey() of a text. */
  rngKey: bigint;
  /** Index of the first of these responses among the draws. */
  firstSample: number;
}

export interface Generated {
  /** The response's ids, including its end token if it has one. */
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
/** What a base holds them as; fp4 is read from checkpoints only. */
export type BaseForm = Quantize | 'fp4';

/** Properties of a loaded model. */
export interface PolicyInfo {
  /** As in config.json. */
  modelType: string;
  device: 'cpu' | 'cuda';
  dtype: 'f32' | 'bf16';
  /** The quantization at opening; `none` for a checkpoint that is already in 4 bits. */
  quantize: Quantize;
  /** What the checkpoint holds them as. */
  storedForm: BaseForm;
  vocabSize: number;
  maxPositions: number;
  eosIds: number[];
  /** Absent for a text-only model. */
  vision?: {
    imageTokenId: number;
  };
  /** Names in transformers' module tree, for adapters. */
  modules: {
    /** Path of the decoder, with trailing dot. */
    text: string;
    /** Trainable parts of the connector. */
    connector: string[];
    /** Tensors of these parts. */
    connectorParts: string[];
  };
  numParameters: number;
  /** Data type of the stored weights. */
  storedDtype: string;
  threads: number;
  /** Notes for the user: parts of the checkpoint or an adapter that were read differently from their stored form. */
  notes: string[];
}

/** A loaded model: generates and scores. */
export interface PolicyEngine {
  readonly info: PolicyInfo;
  /** Throws EngineError{"request"} for an image that the tower refuses. */
  layout(shape: ImageShape): ImageLayout;
  generate(request: GenerateRequest, signal?: AbortSignal): Promise<Generated[]>;
  score(request: ScoreRequest, signal?: AbortSignal): Promise<Scored[]>;
  /** Absent in an engine without batches. */
  readonly pacing?: Pacing;
}

/** Makes batches a function of the requests, not of their timing. */
export interface Pacing {
  /** Paced, the engine computes only while an advance() runs. */
  pace(paced: boolean): void;
  /** Computes until a request ends or none is left; settles after that request's promise. */
  advance(): Promise<void>;
}
