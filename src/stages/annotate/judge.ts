// SPDX-License-Identifier: Apache-2.0
// The interface of a judge: it replies to a prompt with images.
import type { Attempt } from '../../http/attempt.ts';
import type { ImageLimits } from '../../http/image-part.ts';
import type { ModelInfo } from '../../http/model-info.ts';
import { imageNumber } from '../../records/dialogue.ts';
import type { VprefRecord } from '../../records/record.ts';
import type { AllowedReply } from './allowed-replies.ts';
import type { ReplySchema } from './schema.ts';

/** One turn of the conversation with the judge. */
export interface JudgeTurn {
  role: 'user' | 'assistant';
  text: string;
}

/** How the judge generates its reply; part of the cache key. */
export interface JudgeParameters {
  maxTokens: number;
  temperature?: number;
  topP?: number;
  stop?: string[];
  /** The judge's sampling seed, which differs between runs of one prompt. */
  seed?: number;
}

/** One question to a judge. */
export interface JudgeRequest {
  /** Key of the question in the cache, and its id in batch files. */
  key: string;
  system?: string;
  turns: JudgeTurn[];
  /** File paths or data: URIs; empty for text-only guides. */
  images: string[];
  /** The text names the images (image 1), (image 2): each is sent after its number. */
  numberImages?: boolean;
  schema?: ReplySchema;
  /** If set, no text is generated: the reply is the log-probability of each of these. */
  replies?: readonly AllowedReply[];
  parameters: JudgeParameters;
  /** The record's data, for judges that are not language models. */
  about: JudgedItem;
}

/** The record behind a question, for `exec:` judges. */
export interface JudgedItem {
  record: VprefRecord;
  guide: string;
  run: number;
  /** Labels and texts of the responses in the order shown. */
  answers: { label: string; text: string; response: number }[];
  turn?: number;
}

/** A part of a turn: text, or an image in the caller's form. */
export type TurnPart<I> = { type: 'text'; text: string } | { type: 'image'; image: I };

/** The parts of a turn in order: images precede the text of the first turn. */
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
  /** Image kinds and sizes that the judge accepts unchanged. */
  imageLimits: ImageLimits;
  /** Input tokens of an image of this size, as the provider documents it. */
  imageTokens(width: number, height: number): number;
  /** Additional tokens that a reasoning model may spend before its reply. */
  reasoningTokens: number;
  /** Request parameters that the model accepts. */
  info: ModelInfo;
  /** The judge reads the record, so the record is part of the cache key. */
  seesRecord?: boolean;
  /** Supports requests with `replies`. */
  readsProbabilities?: boolean;
  /** A reward model: reads the dialogue with a response, and returns a number. */
  scoresDialogues?: boolean;
  /** Asks once. Throws TransportError if no complete reply arrived; everything else is an attempt's outcome. */
  ask(request: JudgeRequest, signal: AbortSignal): Promise<Attempt>;
  close(): Promise<void>;
}
