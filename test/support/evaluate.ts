// SPDX-License-Identifier: Apache-2.0
// `eval` without a process: files on disk, or rows given in the test as files that never were.
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { type EvalSettings, evaluateFiles } from '../../src/stages/eval/open.ts';

/** Path of a file or folder below fixtures/. */
export function fixture(path: string): string {
  return fileURLToPath(new URL(`../../fixtures/${path}`, import.meta.url)).replace(/\/$/, '');
}

const defaultOptions: Omit<EvalSettings, 'benchmark' | 'answers' | 'read'> = {
  labels: [],
  questions: [],
  tables: [],
  parse: 'official',
  allowMissing: false,
  duplicates: 'error',
  includeFailed: false,
  split: 'test',
  beta: 0.1,
  resamples: 2000,
  seed: 0,
};

/** Evaluates files on disk. */
export function evaluate(
  benchmark: string,
  answers: string[],
  labels: string[] = [],
  options: Partial<EvalSettings> = {},
) {
  const read = async (path: string) => readFileSync(path);
  return evaluateFiles({ ...defaultOptions, benchmark, answers, labels, read, ...options });
}

/** A file's content: text or bytes as they are, an array as JSON lines, an object as one JSON object. */
export type Content = string | Buffer | object;

/** Evaluates contents under names; options as for `evaluate`, with further contents for their files. */
export function evaluateContents(
  benchmark: string,
  answers: Record<string, Content>,
  labels: Record<string, Content> = {},
  {
    questions = {},
    tables = {},
    ...options
  }: Partial<Omit<EvalSettings, 'questions' | 'tables'>> & {
    questions?: Record<string, Content>;
    tables?: Record<string, Content>;
  } = {},
) {
  const files: Record<string, Content> = { ...answers, ...labels, ...questions, ...tables };
  return evaluateFiles({
    ...defaultOptions,
    benchmark,
    answers: Object.keys(answers),
    labels: Object.keys(labels),
    questions: Object.keys(questions),
    tables: Object.keys(tables),
    read: async (path) => toBytes(files[path]!),
    ...options,
  });
}

function toBytes(content: Content): Buffer {
  if (Buffer.isBuffer(content)) return content;
  if (typeof content === 'string') return Buffer.from(content);
  if (Array.isArray(content)) return Buffer.from(content.map((row) => `${JSON.stringify(row)}\n`).join(''));
  return Buffer.from(JSON.stringify(content, null, 1));
}
