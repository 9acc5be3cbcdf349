// SPDX-License-Identifier: Apache-2.0
// An adapter that was trained on a packed base, on another form of it: every command that takes adapters says so, once. Covers native/model/adapter.cc
import assert from 'node:assert/strict';
import { cpSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { before, test } from 'node:test';
import { readMetadata } from '../../src/engine/safetensors.ts';
import { demoModel, demoPairs, toNdjson } from '../support/demo-pairs.ts';
import { withoutEngine as skip } from '../support/native.ts';
import { runCli, temporaryFolder } from '../support/run-cli.ts';

const folder = temporaryFolder('adapter-form');
const path = (name: string) => join(folder, name);
const input = `${JSON.stringify({ id: 'a', prompt: 'What is it?', chosen: 'A dog.', rejected: 'A cat.' })}\n`;
const train = ['--lora-r', '2', '--batch-size', '2', '--max-steps', '1'];

before(async () => {
  if (skip) return;
  writeFileSync(path('pairs.ndjson'), toNdjson(demoPairs(2)));
  const { code, stderr } = await runCli(
    ['train', path('pairs.ndjson'), '--model', demoModel, '--quantize', 'nf4', '-o', path('nf4')].concat(train),
  );
  assert.equal(code, 0, stderr);
});

const NOTE = /nf4: trained on the nf4 base, used on the full one: what it learned is shifted by the difference\n/g;
const notes = (text: string) => (text.match(NOTE) ?? []).length;

test('what samples, scores and computes references on another form says so once', { skip }, async () => {
  const on = ['--model', demoModel, '--adapter', path('nf4')];
  for (const command of [['sample', '--max-new-tokens', '2'], ['score'], ['precompute-ref']]) {
    const other = await runCli([...command, ...on], { input });
    assert.equal(other.code, 0, other.stderr);
    assert.equal(notes(other.stderr), 1, other.stderr);
    const same = await runCli([...command, ...on, '--quantize', 'nf4'], { input });
    assert.equal(same.code, 0, same.stderr);
    assert.doesNotMatch(same.stderr, /trained on/);
  }
  const packed = await runCli(['sample', '--max-new-tokens', '2', ...on, '--quantize', 'int8'], { input });
  assert.match(packed.stderr, /trained on the nf4 base, used on the int8 one/);
});

test('training that starts from it, and doctor, say so', { skip }, async () => {
  const start = ['train', path('pairs.ndjson'), '--model', demoModel, '--init-adapter', path('nf4')];
  const other = await runCli([...start, '--batch-size', '2', '--max-steps', '1', '-o', path('full')]);
  assert.equal(other.code, 0, other.stderr);
  assert.equal(notes(other.stderr), 1, other.stderr);
  const { stdout } = await runCli(['doctor', '--model', demoModel, '--adapter', path('nf4'), '--headers-only']);
  assert.match(stdout, /"check":"model".*trained on the nf4 base, used on the full one/);
  // The adapter that came out was last trained on the full base.
  const again = await runCli(['sample', '--max-new-tokens', '2', '--model', demoModel, '--adapter', path('full')], {
    input,
  });
  assert.doesNotMatch(again.stderr, /trained on/);
});

test('a checkpoint in 4 bits is a form too', { skip }, async () => {
  const run = ['train', path('plain.ndjson'), '--model', 'fixtures/tiny-nf4', '-o', path('of-packed')];
  writeFileSync(path('plain.ndjson'), input);
  const trained = await runCli([...run, '--lora-r', '2', '--batch-size', '1', '--max-steps', '1']);
  assert.equal(trained.code, 0, trained.stderr);
  assert.equal((await readMetadata(path('of-packed/adapter_model.safetensors')))['vpref.trained_on'], 'nf4');
  const merged = await runCli(
    ['export', 'merge', '--model', 'fixtures/tiny-nf4', '--adapter', path('of-packed'), '-o', path('merged')].concat(
      '--dtype',
      'f32',
    ),
  );
  assert.equal(merged.code, 0, merged.stderr);
  assert.match(merged.stderr, /the packed weights of fixtures\/tiny-nf4 are written dequantised/);
  assert.doesNotMatch(merged.stderr, /full base/);
  // The same shapes as stored.
  cpSync('fixtures/tiny-nf4', path('dense'), { recursive: true });
  for (const file of ['model.safetensors', 'config.json'])
    cpSync(path(`merged/${file}`), path(`dense/${file}`), { force: true });
  const full = await runCli(
    ['export', 'merge', '--model', path('dense'), '--adapter', path('of-packed'), '-o', path('onto-full')].concat(
      '--onto',
      'full',
    ),
  );
  assert.equal(full.code, 0, full.stderr);
  assert.match(full.stderr, /merged into the full base, which differs from the nf4 base .* by [\d.]+ %/);
});
