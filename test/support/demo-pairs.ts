// SPDX-License-Identifier: Apache-2.0
// Pairs of the bundled demo data, and what two training runs on them have in common.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { root } from './run-cli.ts';

export const demoModel = join(root, 'fixtures/demo/tiny-llava');

type Json = Record<string, unknown>;
export const readRows = (text: string): Json[] =>
  text
    .split('\n')
    .filter(Boolean)
    .map((line) => JSON.parse(line));

const read = (path: string) => readRows(readFileSync(join(root, path), 'utf8'));

/** `count` records of a question and a picture. */
export function demoPrompts(count: number): Json[] {
  return read('fixtures/demo/data/preference/questions.jsonl')
    .slice(0, count)
    .map(({ question_id, image, question, text }) => ({
      id: String(question_id),
      images: [join(root, 'fixtures/demo/data/preference/images', String(image))],
      prompt: question ?? text,
    }));
}

/** `count` pairs of two different answers; `reference`: with sums, as if precomputed, so that no run computes its own. */
export function demoPairs(count: number, { reference = false } = {}): Json[] {
  return read('fixtures/demo/data/preference/annotated.jsonl')
    .map(({ question_id, image, question, candidates }) => ({
      id: String(question_id),
      images: [join(root, 'fixtures/demo/data/preference/images', String(image))],
      prompt: question,
      texts: [...new Set((candidates as Json[]).map(({ text }) => text as string))],
    }))
    .filter(({ texts }) => texts.length > 1)
    .slice(0, count)
    .map(({ texts, ...record }) => ({
      ...record,
      chosen: texts[0],
      rejected: texts[1],
      ...(reference && { ref_chosen_logps: -10, ref_rejected_logps: -10 }),
    }));
}

export const toNdjson = (rows: readonly object[]): string => rows.map((row) => `${JSON.stringify(row)}\n`).join('');

/** The values of an adapter's file, all tensors in their order. */
export function adapterValues(dir: string): Float32Array {
  const file = readFileSync(join(dir, 'adapter_model.safetensors'));
  const header = 8 + Number(file.readBigUInt64LE(0));
  return new Float32Array(file.buffer.slice(file.byteOffset + header, file.byteOffset + file.length));
}

/**
 * Sums over ranks are added in another order, which AdamW may turn into a share of a step where a gradient nearly cancels: losses to 1e-4, the adapter
 * within 1 % of its norm.
 */
export function assertSameTraining(got: { rows: Json[]; dir: string }, want: { rows: Json[]; dir: string }): void {
  assert.deepEqual(
    got.rows.map(({ step }) => step),
    want.rows.map(({ step }) => step),
  );
  for (const [index, row] of want.rows.entries()) {
    // Warnings and the end have no figures.
    if (row.loss === undefined) {
      assert.deepEqual(got.rows[index], row);
      continue;
    }
    for (const key of ['loss', 'grad_norm', 'rewards/margins', 'logps/chosen']) {
      const [a, b] = [got.rows[index]![key] as number, row[key] as number];
      assert.ok(Math.abs(a - b) <= 1e-4 * (1 + Math.abs(b)), `step ${row.step}: ${key}: ${a}, expected ${b}`);
    }
  }
  assertSameAdapter(got.dir, want.dir);
}

export function assertSameAdapter(got: string, want: string): void {
  const [a, b] = [adapterValues(got), adapterValues(want)];
  assert.equal(a.length, b.length);
  let difference = 0;
  let norm = 0;
  for (const [index, value] of b.entries()) {
    difference += (a[index]! - value) ** 2;
    norm += value ** 2;
  }
  assert.ok(Math.sqrt(difference) <= 0.01 * Math.sqrt(norm), `adapters differ by ${Math.sqrt(difference / norm)}`);
}
