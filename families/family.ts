// SPDX-License-Identifier: Apache-2.0
// What a model family is on this side: how an image becomes the crops that its tower takes, and how it stands in the prompt. The other half is family.h.
import type { Image } from '../src/pixels/image.ts';

/** pad: mean-colour square; crop: cut from the middle; native: the picture's own shape; tiles: the picture in parts. */
export const IMAGE_MODES = ['pad', 'crop', 'native', 'tiles'] as const;
export type ImageMode = (typeof IMAGE_MODES)[number];

/** A family of checkpoints. One without `vision` takes text alone. */
export interface Family {
  /** What config.json's model_type says; the first names the family. */
  readonly modelTypes: readonly [string, ...string[]];
  readonly vision?: VisionFamily;
}

/** The image side of a family. A plan is data, which worker threads get as a copy. */
export interface VisionFamily<Plan extends ImagePlan = ImagePlan> {
  /** The token that a row of the image is among the ids. */
  readonly imageToken: string;
  /** The token of a frame of video, where the family's vocabulary has one: a text with it is refused. */
  readonly videoToken?: string;
  /** What stands for an image in the text that a template makes; one image token is in it. */
  readonly imageMark: string;
  /** The training wrote images on lines of their own: a line break beside an image in a text is the template's, not the text's. */
  readonly imagesOnOwnLine: boolean;
  /** The first is how the family was trained. */
  readonly imageModes: readonly [ImageMode, ...ImageMode[]];
  /** What is said of the first mode where nobody asked for one. */
  readonly modeNote?: string;
  /** Every picture gives the same crops and rows, whatever its size. */
  readonly hasOneSize?: true;
  /** Whether an image's size is bounded by a number of pixels that a user may choose. */
  readonly hasPixelLimits: boolean;
  /** The checkpoint's own plan in the first mode. Throws RunError{"config"} naming an unsupported setting. */
  readPlan(files: CheckpointFiles): Plan;
  /** The plan in another mode or with other limits. */
  choosePlan(plan: Plan, choice: ImageChoice): Plan;
  /** Sizes of the crops that an image of this size gives. Throws PixelError for a shape that the family does not take. */
  cropSizes(size: Size, plan: Plan): Size[];
  /** The crops, 8-bit. Throws PixelError as cropSizes does. */
  crops(image: Image, plan: Plan): Image[];
  /** What stands in a prompt in the place of an image's one token: text with one image token for each run of rows. */
  expansion(size: Size, plan: Plan): string;
  /** Sizes and limits, for people. */
  describe(plan: Plan): string;
  /** What `ref.inputs` has of the plan; default: all of it. */
  identity?(plan: Plan): object;
}

export interface Size {
  height: number;
  width: number;
}

export interface ImagePlan {
  readonly mode: ImageMode;
  readonly normalisation: Normalisation;
  /** Bounds of height x width after resizing, where the family has them. */
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

/** What stands in a checkpoint's files about images. */
export interface CheckpointFiles {
  /** For messages. */
  dir: string;
  /** config.json */
  config: JsonObject;
  /** processor_config.json, as far as it is there. */
  processor: JsonObject;
  /** The image processor's settings: in processor_config.json (transformers 5), or preprocessor_config.json; undefined where neither has any. */
  imageProcessor: JsonObject | undefined;
}
