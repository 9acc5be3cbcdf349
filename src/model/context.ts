// SPDX-License-Identifier: Apache-2.0
// Shared by the model stages: a loaded model, and the conversion of a record to requests.
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
  /** The template with its arguments; the run's date if they have none. */
  loadTemplate(name: string, args?: TemplateArgs): Promise<ChatTemplate>;
  template: Choice<string>;
  /** Arguments of --template-arg. */
  templateArgs?: TemplateArgs;
  /** Called for a record with a special token in its texts. */
  onSpecialText?(row: Row, token: string): void;
  /** The image side of the model's family; absent for a text-only model. */
  vision?: ModelVision;
  /** An image's crops, after the operations of a view. Throws PixelError. */
  loadImage(source: string, plan: ImagePlan, ops?: readonly ViewOp[]): Promise<ImageInput>;
  /** An image's size, without decoding it. Throws PixelError. */
  imageShape(source: string, plan: ImagePlan, ops?: readonly ViewOp[]): Promise<ImageShape>;
  /** Digest of an image file's bytes. */
  imageDigest(image: string): Promise<string>;
  /** Maximum tokens of prompt and response (--max-length). */
  maxLength?: number;
  /** Aborts on the user's stop. */
  stop?: AbortSignal;
  /** How long the engine waits for input that has not arrived; infinite for files. */
  inputPatienceMs?: number;
  /** `sha256:...` of the model and of its adapters. */
  fingerprint: { model: string; adapter: string | string[] | null };
}

export interface ModelVision {
  family: VisionFamily;
  /** The family's name in messages. */
  name: string;
  /** The plan of records without their own. */
  plan: ImagePlan;
  /** Given on the command line: a record with another value is an error. */
  asked: { mode?: ImageMode; maxPixels?: number; minPixels?: number };
  tokens: ImageTokens;
  /** Called when an image's mode comes from no flag, preset or record. */
  onFamilyMode?(): void;
  /** Called for an image with very many tokens. */
  onLargeImage?(shape: ImageShape, numRows: number): void;
}

/** The value given on the command line, and the default if neither it nor the record has one. */
export interface Choice<T> {
  asked?: T;
  otherwise: T;
}

/** How the record's prompt is rendered and its images are processed. */
export interface RecordPlan {
  template: ChatTemplate;
  /** Absent for a text-only model. */
  images?: ImagePlan;
}

/** A prompt with its pixels, ready for requests. */
export interface PreparedPrompt {
  prompt: PromptIds;
  promptIds: Int32Array;
  /** Positions of promptIds. */
  numPositions: number;
  /** Each image's range within promptIds. */
  imageIds: readonly (readonly number[])[];
  images: ImageInput[];
}

/** A text to score after a prompt. `end: false`: it was cut before its end token; a text: it ended with that token. */
export interface ResponseText {
  text: string;
  end?: boolean | string;
}
