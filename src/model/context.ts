// SPDX-License-Identifier: Apache-2.0
// Shared by the model stages: a loaded model, and everything between a record and its requests.
import type { ImageMode, ImagePlan, VisionFamily } from '../../families/family.ts';
import type { ImageInput, ImageShape, PolicyEngine } from '../engine/requests.ts';
import type { Row } from '../flow/stage.ts';
import type { TemplateArgs, ViewOp } from '../records/record.ts';
import type { ChatTemplate } from '../text/chat-template.ts';
import type { ImageTokens, PromptIds } from '../text/prompt-ids.ts';
import type { ModelTokenizer } from '../text/tokenizer.ts';

export interface ModelContext {
  engine: PolicyEngine;
  tokenizer: ModelTokenizer;
  /** With the arguments that it is given; the run's date where they have none. */
  loadTemplate(name: string, args?: TemplateArgs): Promise<ChatTemplate>;
  template: Choice<string>;
  /** What --template-arg gave. */
  templateArgs?: TemplateArgs;
  /** Called for a record whose texts hold a special token. */
  onSpecialText?(row: Row, token: string): void;
  /** The image side of the model's family; absent for a text-only model. */
  vision?: ModelVision;
  /** A picture's crops, after the operations of a view. Throws PixelError. */
  loadImage(source: string, plan: ImagePlan, ops?: readonly ViewOp[]): Promise<ImageInput>;
  /** A picture's shape, without decoding it. Throws PixelError. */
  imageShape(source: string, plan: ImagePlan, ops?: readonly ViewOp[]): Promise<ImageShape>;
  /** Digest of an image file's bytes. */
  imageDigest(image: string): Promise<string>;
  /** Most tokens of a prompt with an answer (--max-length). */
  maxLength?: number;
  /** Aborts when the user asks to stop. */
  stop?: AbortSignal;
  /** How long the engine waits for rows that the input has not given yet; infinite where the input is files. */
  inputPatienceMs?: number;
  /** `sha256:...` of the model, and of its adapters. */
  fingerprint: { model: string; adapter: string | string[] | null };
}

export interface ModelVision {
  family: VisionFamily;
  /** What messages call the family. */
  name: string;
  /** The plan of records without their own. */
  plan: ImagePlan;
  /** Given on the command line: a record with another value is an error. */
  asked: { mode?: ImageMode; maxPixels?: number; minPixels?: number };
  tokens: ImageTokens;
  /** Called when an image's mode comes from no flag, preset or record. */
  onFamilyMode?(): void;
  /** Called for a picture of very many tokens. */
  onLargeImage?(shape: ImageShape, numRows: number): void;
}

/** The value given on the command line, and the default if neither it nor the record has one. */
export interface Choice<T> {
  asked?: T;
  otherwise: T;
}

/** How the record's prompt becomes ids and its images pixels. */
export interface RecordPlan {
  template: ChatTemplate;
  /** Absent for a text-only model. */
  images?: ImagePlan;
}

/** A prompt with its pixels, ready for requests. */
export interface PreparedPrompt {
  prompt: PromptIds;
  promptIds: Int32Array;
  /** Positions that promptIds take. */
  numPositions: number;
  /** The ids of each image within promptIds. */
  imageIds: readonly (readonly number[])[];
  images: ImageInput[];
}

/** A text to score after a prompt. `end: false`: it was cut before its end token; a text: it ended in that token. */
export interface ResponseText {
  text: string;
  end?: boolean | string;
}
