// SPDX-License-Identifier: Apache-2.0
// The rows of `eval`: one per split (a category, a capability, a turn), and one for all.
import type { EvalFile } from './file.ts';
import { type Contribution, type Interval, shareInterval } from './statistics.ts';

/** A row of scores. Other figures are further fields. */
export interface ScoreRow {
  benchmark: string;
  /** "all", or the part of the benchmark. */
  split: string;
  /** The model of the answers, if the files name it. */
  model?: string;
  /** Number of scored questions. */
  n: number;
  /** The headline score in the papers' unit; null if undefined. */
  score: number | null;
  /** 95 % interval of the score, clustered by image; null with fewer than two clusters. */
  ci95?: Interval | null;
  clusters?: number;
  /** Answers that the parser could not read; the mode decides how they count. */
  unparsed?: number;
  /** Failed answers and judge requests; scored only in official mode with --include-failed. */
  failed?: number;
  missing?: number;
  /** SHA-256 of each label file. */
  labels_sha256?: string | string[];
  [figure: string]: unknown;
}

/** The value of one question for one model, paired by `eval compare`. */
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
  /** Total failed answers and judge calls. */
  failed: number;
}

export interface EvalOptions {
  parse: 'official' | 'strict';
  allowMissing: boolean;
  duplicates: 'error' | 'first' | 'last';
  /** Official mode counts failed judge calls as the official script does. */
  includeFailed: boolean;
  /** Selects a record's response to score. */
  label?: string | undefined;
  view?: string | undefined;
  response?: number | undefined;
  /** Selects the judge, if there are several. */
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

/** The hash field of a row with these label files; absent without any. */
export function labelHashes(files: readonly EvalFile[]): { labels_sha256?: string | string[] } {
  if (files.length === 0) return {};
  const hashes = files.map((file) => file.sha256);
  return { labels_sha256: hashes.length === 1 ? hashes[0]! : hashes };
}

/** The mark of an answer to a question with a right answer. */
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

/** The number, or null for NaN and infinity, which JSON lacks. */
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
