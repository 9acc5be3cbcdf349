// SPDX-License-Identifier: Apache-2.0
// The commands on tiny qwen2, qwen3 and mistral (fixtures/families) against transformers and peft: greedy answers,
// log-probabilities, gradients of a DPO step, adapters, merged weights.
// Covers families/qwen2/qwen2.cc families/qwen3/qwen3.cc families/mistral/mistral.cc
import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { withoutEngine as skip } from '../support/native.ts';
import { runCli } from '../support/run-cli.ts';
import { readSafetensors } from '../support/safetensors.ts';

interface GoldenRow {
  id: string;
  answers: { text: string; sum: number }[];
  greedy: { text: string; logps: number[]; min_margin: number };
}

interface Dpo {
  pairs: { id: string; ref_chosen: number; ref_rejected: number; policy_chosen: number; policy_rejected: number }[];
  loss_mean: number;
}

interface Pair {
  id: string;
  prompt: unknown;
  chosen: string;
  rejected: string[];
}

// biome-ignore lint/suspicious/noExplicitAny: rows of several commands
type Row = any;

const SUM = 5e-4;
const LOSS = 2e-5;
const GRADIENT = 2e-4;
const folder = mkdtempSync(join(tmpdir(), 'vpref-text-families-'));
after(() => rmSync(folder, { recursive: true, force: true }));
const path = (name: string) => join(folder, name);
const read = <T>(file: string): T => JSON.parse(readFileSync(file, 'utf8')) as T;
const lines = (text: string): Row[] =>
  text
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line));

// The published prompts are conversations under `messages`.
const prompts: Pair[] = lines(readFileSync('fixtures/families/prompts-text.ndjson', 'utf8')).map(
  ({ id, messages, chosen, rejected }) => ({ id, prompt: messages, chosen, rejected }),
);
const write = (name: string, rows: object[]) => {
  writeFileSync(path(name), rows.map((row) => `${JSON.stringify(row)}\n`).join(''));
  return path(name);
};

async function run(...args: string[]): Promise<Row[]> {
  const { code, stdout, stderr } = await runCli([...args, '-q']);
  assert.equal(code, 0, stderr);
  return stdout.trim() === '' ? [] : lines(stdout);
}

function expectSums(rows: Row[], expected: Map<string, number[]>): void {
  for (const row of rows) {
    const got = [row.ref_chosen_logps, ...[row.ref_rejected_logps].flat()];
    for (const [i, sum] of expected.get(row.id)!.entries())
      assert.ok(Math.abs(got[i] - sum) <= SUM, `${row.id}, answer ${i}: expected ${sum}, got ${got[i]}`);
  }
}

for (const name of ['qwen2', 'qwen3', 'mistral']) {
  const dir = `fixtures/families/${name}`;
  const model = ['--model', `${dir}/ckpt`, '--dtype', 'f32', '--device', 'cpu'];
  const golden = read<GoldenRow[]>(`${dir}/golden.json`);
  const dpo = read<Dpo>(`${dir}/dpo.json`);
  const policySums = new Map(dpo.pairs.map((p) => [p.id, [p.policy_chosen, p.policy_rejected]]));
  const pairs = () =>
    dpo.pairs.map((p) => {
      const { rejected, ...row } = prompts.find(({ id }) => id === p.id)!;
      return { ...row, rejected: rejected[0]! };
    });

  test(`${name}: greedy answers`, { skip }, async () => {
    const flags = ['--temperature', '0', '--max-new-tokens', '24', '--logps'];
    const rows = await run('sample', ...model, ...flags, write(`${name}-prompts.ndjson`, prompts));
    let compared = 0;
    for (const [i, row] of golden.entries()) {
      if (row.greedy.min_margin < 1e-3) continue; // a near tie may go either way
      const { text, logps } = rows[i].responses[0];
      assert.equal(text, row.greedy.text, row.id);
      assert.ok(Math.abs(logps - row.greedy.logps.reduce((sum, logp) => sum + logp, 0)) <= 1e-3, row.id);
      compared += 1;
    }
    assert.ok(compared >= golden.length - 1);
  });

  test(`${name}: log-probabilities, alone and with an adapter`, { skip }, async () => {
    const rows = await run('precompute-ref', ...model, write(`${name}-ref.ndjson`, prompts));
    assert.equal(rows.length, golden.length);
    expectSums(rows, new Map(golden.map(({ id, answers }) => [id, answers.map(({ sum }) => sum)])));
    const input = write(`${name}-pairs.ndjson`, pairs());
    expectSums(await run('precompute-ref', ...model, '--adapter', `${dir}/adapter`, input), policySums);
  });

  test(`${name}: loss and gradients of a DPO step, and the merged model`, { skip }, async () => {
    const bare = write(`${name}-bare.ndjson`, pairs());
    const rows = await run('precompute-ref', ...model, bare);
    const input = write(`${name}-train.ndjson`, rows);
    const gradients = path(`${name}.safetensors`);
    const step = ['--batch-size', '3', '--no-shuffle', '--beta', '0.1', '--save-gradients', gradients];
    const start = ['--init-adapter', `${dir}/adapter`, '-o', path(`${name}-trained`)];
    const out = await runCli(['train', ...model, ...step, ...start, input, '-q']);
    assert.equal(out.code, 0, out.stderr);
    const loss = lines(out.stdout).find((row) => row.loss !== undefined)?.loss;
    assert.ok(Math.abs(loss - dpo.loss_mean) <= LOSS, `loss: expected ${dpo.loss_mean}, got ${loss}`);
    const got = readSafetensors(gradients);
    const floats = (bytes: Buffer) =>
      new Float32Array(bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.byteLength));
    for (const [key, bytes] of readSafetensors(`${dir}/grads.safetensors`)) {
      const expected = floats(bytes);
      const ours = floats(got.get(key.replace('base_model.model.', ''))!);
      const distance = Math.hypot(...expected.map((value, i) => value - ours[i]!));
      assert.ok(distance <= GRADIENT * Math.hypot(...expected), `${key}: ${distance}`);
    }
    const merged = path(`${name}-merged`);
    await run(
      'export',
      'merge',
      '--model',
      `${dir}/ckpt`,
      '--adapter',
      `${dir}/adapter`,
      '--dtype',
      'f32',
      '-o',
      merged,
    );
    expectSums(await run('precompute-ref', '--model', merged, '--dtype', 'f32', '--device', 'cpu', bare), policySums);
  });
}
