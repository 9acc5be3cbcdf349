// SPDX-License-Identifier: Apache-2.0
// What a reply kind makes of a judge's text.
import type { AllowedReply } from '../allowed-replies.ts';
import type { ReplySchema } from '../schema.ts';

/** What was asked, as far as the reply depends on it. */
export interface ReplyContext {
  /** Labels of the answers as shown: "A", "B", ... */
  labels: string[];
  scores: { name: string; type: 'integer' | 'number'; minimum: number; maximum: number }[];
  comment: boolean;
  ownResponse: boolean;
  /** Letters of the record's choices. */
  letters: string[];
  /** Numbered sentences of the answer, for `judgement`. */
  sentences: string[];
  /** For `probability`; its one metric is in `scores`. */
  replies?: readonly AllowedReply[];
}

/** A reply that was understood. */
export interface Reading {
  /** One object per answer, in the order shown. */
  scores?: Record<string, number>[];
  /** Place of the answer that won, null for a tie. */
  winner?: number | null;
  /** What else the judge said about each answer, in the order shown. */
  verdicts?: unknown[];
  ownResponse?: string;
  /** probability: how much of the model's probability the allowed replies have, by metric. */
  masses?: Record<string, number>[];
  /** Of one answer, where the question was to split it. */
  claims?: string[];
}

/** The reading, or what is wrong, in words that the judge can be shown. */
export type ReadResult = { reading: Reading } | { problem: string };

export interface ReplyReader {
  /** Present for replies whose shape an API can enforce. */
  schema?(context: ReplyContext): ReplySchema;
  read(text: string, context: ReplyContext): ReadResult;
}

/** The problem as a result. */
export function unread(expected: string, text: string): ReadResult {
  return { problem: `expected ${expected}, got ${JSON.stringify(text.trim().slice(0, 80))}` };
}
