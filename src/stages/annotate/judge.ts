// SPDX-License-Identifier: Apache-2.0
// A judge: replies to a prompt with images, whatever runs it.
import type { Attempt } from '../../http/attempt.ts';
import type { ImageLimits } from '../../http/image-part.ts';
import type { ModelInfo } from '../../http/model-info.ts';
import { imageNumber } from '../../records/dialogue.ts';
import type { VprefRecord } from '../../records/record.ts';
import type { AllowedReply } from './allowed-replies.ts';
import type { ReplySchema } from './schema.ts';

/** One turn of the talk with the judge. */
export interface JudgeTurn {
  role: 'user' | 'assistant';
  text: string;
}

/** How the judge is asked to answer; part of what the cache is keyed by. */
export interface JudgeParameters {
  maxTokens: number;
  temperature?: number;
  topP?: number;
  stop?: string[];
  /** The judge's own sampling seed; several runs of one prompt differ in it. */
  seed?: number;
}

/** One question to a judge. */
export interface JudgeRequest {
  /** Name of the question: the cache's key, and the id in batch files. */
  key: string;
  system?: string;
  turns: JudgeTurn[];
  /** File paths or data: URIs; empty for guides that judge text alone. */
  images: string[];
  /** The text speaks of the images as (image 1), (image 2): each is sent after its number. */
  numberImages?: boolean;
  schema?: ReplySchema;
  /** Nothing is to be said: the log-probability of each of these is asked for. */
  replies?: readonly AllowedReply[];
  parameters: JudgeParameters;
  /** What a judge that is no language model may look at. */
  about: JudgedItem;
}

/** The record behind a question, for `exec:` judges. */
export interface JudgedItem {
  record: VprefRecord;
  guide: string;
  run: number;
  /** Labels and texts of the answers in the order shown. */
  answers: { label: string; text: string; response: number }[];
  turn?: number;
}

/** A piece of a turn: text, or an image in the form that the caller has it in. */
export type TurnPart<I> = { type: 'text'; text: string } | { type: 'image'; image: I };

/** What a turn holds, in order: the images stand before the first turn's text. */
export function turnParts<I>({ turns, numberImages }: JudgeRequest, turn: number, images: readonly I[]): TurnPart<I>[] {
  const text: TurnPart<I> = { type: 'text', text: turns[turn]!.text };
  if (turn > 0) return [text];
  const shown = images.flatMap((image, index): TurnPart<I>[] => {
    const part: TurnPart<I> = { type: 'image', image };
    return numberImages ? [{ type: 'text', text: `${imageNumber(index + 1)}:` }, part] : [part];
  });
  return [...shown, text];
}

export interface Judge {
  /** As the user wrote it: "gemini:gemini-2.5-pro". */
  name: string;
  /** Further parts of the cache key: server, model, fingerprint. */
  identity: Record<string, unknown>;
  /** Image kinds and sizes the judge takes as they are. */
  imageLimits: ImageLimits;
  /** Input tokens that an image of this size costs, as the provider documents it. */
  imageTokens(width: number, height: number): number;
  /** Tokens on top of a reply's own that a reasoning model may spend before it answers. */
  reasoningTokens: number;
  /** Request parameters that the model accepts. */
  info: ModelInfo;
  /** The judge looks at the record itself, so the cache must too. */
  seesRecord?: boolean;
  /** It answers requests with `replies`. */
  readsProbabilities?: boolean;
  /** It is shown the dialogue with an answer, and gives a number. */
  scoresDialogues?: boolean;
  /** Asks once. Throws TransportError when no whole answer arrived; everything else is an attempt's outcome. */
  ask(request: JudgeRequest, signal: AbortSignal): Promise<Attempt>;
  close(): Promise<void>;
}
