// SPDX-License-Identifier: Apache-2.0
// The TypeScript half of a model family: crops of an image for the vision tower, and the image's tokens in the prompt. The C++ half is family.h.
import type { Image } from '../src/pixels/image.ts';

/** pad: mean-colour square; crop: center crop; native: the image's own shape; tiles: the image in tiles. */
export const IMAGE_MODES = ['pad', 'crop', 'native', 'tiles'] as const;
export type ImageMode = (typeof IMAGE_MODES)[number];

/** A family of checkpoints. A family without `vision` is text-only. */
export interface Family {
  /** Values of config.json's model_type; the first is the family's name. */
  readonly modelTypes: readonly [string, ...string[]];
  readonly vision?: VisionFamily;
}

/** The image side of a family. A plan is plain data, copied to worker threads. */
export interface VisionFamily<Plan extends ImagePlan = ImagePlan> {
  /** The token of an image position in the ids. */
  readonly imageToken: string;
  /** The video token, if the vocabulary has one: texts with it are refused. */
  readonly videoToken?: string;
  /** Text of an image in a rendered prompt; it contains one image token. */
  readonly imageMark: string;
  /** Training data has images on separate lines, so a line break beside an image belongs to the template, not to the text. */
  readonly imagesOnOwnLine: boolean;
  /** The first is the mode of the family's training. */
  readonly imageModes: readonly [ImageMode, ...ImageMode[]];
  /** Note about the first mode, printed if the user chose none. */
  readonly modeNote?: string;
  /** Whether every image gives the same crops and tokens. */
  readonly hasOneSize?: true;
  /** Whether the user may limit an image's number of pixels. */
  readonly hasPixelLimits: boolean;
  /** The checkpoint's own plan in the first mode. Throws RunError{"config"} naming an unsupported setting. */
  readPlan(files: CheckpointFiles): Plan;
  /** The plan in another mode or with other limits. */
  choosePlan(plan: Plan, choice: ImageChoice): Plan;
  /** Sizes of the crops of an image of this size. Throws PixelError for a shape that the family refuses. */
  cropSizes(size: Size, plan: Plan): Size[];
  /** The crops, 8-bit. Throws PixelError as cropSizes does. */
  crops(image: Image, plan: Plan): Image[];
  /** Text that replaces an image's token in a prompt, with one image token per run of image positions. */
  expansion(size: Size, plan: Plan): string;
  /** Sizes and limits, as text for users. */
  describe(plan: Plan): string;
  /** The part of the plan in `ref.inputs`; default: all of it. */
  identity?(plan: Plan): object;
}

export interface Size {
  height: number;
  width: number;
}

export interface ImagePlan {
  readonly mode: ImageMode;
  readonly normalisation: Normalisation;
  /** Bounds of height x width after resizing, if the family has them. */
  readonly maxPixels?: number;
  readonly minPixels?: number;
}

export interface ImageChoice {
  mode?: ImageMode;
  maxPixels?: number;
  minPixels?: number;
}

/** A value v of channel c becomes (v * scale - mean[c]) / std[c]. */
export interface Normalisation {
  mean: readonly [number, number, number];
  std: readonly [number, number, number];
  scale: number;
}

export type JsonObject = Readonly<Record<string, unknown>>;

/** Image settings in a checkpoint's files. */
export interface CheckpointFiles {
  /** The directory, for messages. */
  dir: string;
  /** config.json */
  config: JsonObject;
  /** processor_config.json, or {}. */
  processor: JsonObject;
  /** The image processor's settings: in processor_config.json (transformers 5), or preprocessor_config.json; undefined if neither has any. */
  imageProcessor: JsonObject | undefined;
}
