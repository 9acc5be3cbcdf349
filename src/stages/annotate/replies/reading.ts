// SPDX-License-Identifier: Apache-2.0
// The parsed reply of a judge, and the interface of a reply kind.
import type { AllowedReply } from '../allowed-replies.ts';
import type { ReplySchema } from '../schema.ts';

/** The part of the question that parsing depends on. */
export interface ReplyContext {
  /** Labels of the responses as shown: "A", "B", ... */
  labels: string[];
  scores: { name: string; type: 'integer' | 'number'; minimum: number; maximum: number }[];
  comment: boolean;
  ownResponse: boolean;
  /** Letters of the record's choices. */
  letters: string[];
  /** Numbered sentences of the response, for `judgement`. */
  sentences: string[];
  /** For `probability`; its one metric is in `scores`. */
  replies?: readonly AllowedReply[];
}

/** A parsed reply. */
export interface Reading {
  /** One object per response, in the order shown. */
  scores?: Record<string, number>[];
  /** Position of the winning response, null for a tie. */
  winner?: number | null;
  /** The judge's comment on each response, in the order shown. */
  verdicts?: unknown[];
  ownResponse?: string;
  /** probability: the share of the model's probability on the allowed replies, by metric. */
  masses?: Record<string, number>[];
  /** Claims of the response, if the question was to split it. */
  claims?: string[];
}

/** The parsed reply, or a problem in words that can be sent to the judge. */
export type ReadResult = { reading: Reading } | { problem: string };

export interface ReplyReader {
  /** Present if an API can enforce the reply's shape. */
  schema?(context: ReplyContext): ReplySchema;
  read(text: string, context: ReplyContext): ReadResult;
}

/** The problem as a result. */
export function unread(expected: string, text: string): ReadResult {
  return { problem: `expected ${expected}, got ${JSON.stringify(text.trim().slice(0, 80))}` };
}
