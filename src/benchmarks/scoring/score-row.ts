// SPDX-License-Identifier: Apache-2.0
// What `eval` gives: one row per split (a category, a capability, a turn), one for all of them.
import type { EvalFile } from './file.ts';
import { type Contribution, type Interval, shareInterval } from './statistics.ts';

/** A row of scores. Other figures stand beside the headline by name. */
export interface ScoreRow {
  benchmark: string;
  /** "all", or the part of the benchmark. */
  split: string;
  /** Whose answers, where the files say so. */
  model?: string;
  /** Questions that were scored. */
  n: number;
  /** The headline in the unit the papers print; null where it is undefined. */
  score: number | null;
  /** 95 % interval of the score, clustered by image; null with fewer than two clusters. */
  ci95?: Interval | null;
  clusters?: number;
  /** Answers the parser could make nothing of (they count as the rules say). */
  unparsed?: number;
  /** Failed answers and judge requests; scored only in official mode with --include-failed. */
  failed?: number;
  missing?: number;
  /** SHA-256 of the label file, or of each. */
  labels_sha256?: string | string[];
  [figure: string]: unknown;
}

/** The value of one question for one model: what `eval compare` pairs. */
export interface Item {
  model: string;
  split: string;
  id: string;
  cluster: string;
  value: number;
}

export interface Evaluation {
  rows: ScoreRow[];
  items: Item[];
  /** Remarks for stderr, one line each. */
  notes: string[];
  /** Failed answers and judge calls in all. */
  failed: number;
}

export interface EvalOptions {
  parse: 'official' | 'strict';
  allowMissing: boolean;
  duplicates: 'error' | 'first' | 'last';
  /** Official mode counts failed judge calls as its script does. */
  includeFailed: boolean;
  /** Which of a record's responses to score. */
  label?: string | undefined;
  view?: string | undefined;
  response?: number | undefined;
  /** Whose judgements, where several judges have their say. */
  judge?: string | undefined;
  /** ScienceQA: the split of problems.json. */
  split: string;
  beta: number;
  resamples: number;
  seed: number;
}

export interface EvalInput {
  answers: EvalFile[];
  labels: EvalFile[];
  questions: EvalFile[];
  /** Side tables: AlpacaEval's difficulties, CHAIR's synonyms. */
  tables: EvalFile[];
  options: EvalOptions;
}

export type Scorer = (input: EvalInput) => Evaluation;

/** The hash field of a row that used these label files; absent when there were none. */
export function labelHashes(files: readonly EvalFile[]): { labels_sha256?: string | string[] } {
  if (files.length === 0) return {};
  const hashes = files.map((file) => file.sha256);
  return { labels_sha256: hashes.length === 1 ? hashes[0]! : hashes };
}

/** An answer to a question with a right answer. */
export interface Marked {
  cluster: string;
  correct: boolean;
  unparsed?: boolean;
}

/** Score, n, figures and interval of an accuracy in percent. */
export function accuracy(marked: readonly Marked[]): {
  n: number;
  score: number | null;
  correct: number;
  ci95: Interval | null;
  clusters: number;
  unparsed: number;
} {
  const n = marked.length;
  const correct = marked.filter((answer) => answer.correct).length;
  const contributions = marked.map((answer): Contribution => ({ cluster: answer.cluster, sums: [+answer.correct, 1] }));
  return {
    n,
    score: n === 0 ? null : (correct / n) * 100,
    correct,
    ...shareInterval(contributions),
    unparsed: marked.filter((answer) => answer.unparsed === true).length,
  };
}

/** The number, or null where it is none: JSON has no NaN. */
export function finite(value: number): number | null {
  return Number.isFinite(value) ? value : null;
}

/** Groups in order of first appearance. */
export function groupBy<T, K>(values: Iterable<T>, keyOf: (value: T) => K): Map<K, T[]> {
  const groups = new Map<K, T[]>();
  for (const value of values) {
    const key = keyOf(value);
    const group = groups.get(key);
    if (group === undefined) groups.set(key, [value]);
    else group.push(value);
  }
  return groups;
}
