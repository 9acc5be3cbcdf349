// SPDX-License-Identifier: Apache-2.0
// Covers src/engine/lora-shapes.ts src/engine/trainer.ts
// Adapters of several shapes through the real binary: what is written is what is read again.
import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { demoModel, demoPairs, readRows, toNdjson } from '../support/demo-pairs.ts';
import { withoutEngine as skip } from '../support/native.ts';
import { runCli } from '../support/run-cli.ts';

const folder = mkdtempSync(join(tmpdir(), 'vpref-train-lora-'));
after(() => rmSync(folder, { recursive: true, force: true }));
const path = (name: string) => join(folder, name);
writeFileSync(path('pairs.ndjson'), toNdjson(demoPairs(6)));
writeFileSync(path('held-out.ndjson'), toNdjson(demoPairs(10).slice(6)));
const train = (out: string, ...flags: string[]) =>
  runCli(
    ['train', path('pairs.ndjson'), '--model', demoModel, '--lora-r', '8', '--lr', '1e-2', '--batch-size', '3'].concat([
      '--warmup-ratio',
      '0',
      '--eval',
      path('held-out.ndjson'),
      '-o',
      path(out),
      ...flags,
    ]),
  );
/** Rank of every module of an adapter's file. */
function readShapes(dir: string): Map<string, number> {
  const file = readFileSync(join(dir, 'adapter_model.safetensors'));
  const header = JSON.parse(file.toString('utf8', 8, 8 + Number(file.readBigUInt64LE(0))));
  return new Map(
    Object.entries<{ shape: number[] }>(header).flatMap(([name, { shape }]) =>
      name.endsWith('.lora_A.weight') ? [[name.slice(0, -'.lora_A.weight'.length), shape[0]!]] : [],
    ),
  );
}
const config = (out: string) => JSON.parse(readFileSync(join(path(out), 'adapter_config.json'), 'utf8'));

for (const [name, flags] of Object.entries({
  patterns: ['--lora-pattern', 'layers\\.0\\..*q_proj=2:6', '--lora-pattern', 'mlp\\.\\w+=4'],
  regex: ['--lora-targets', '/.*\\.layers\\.0\\.(self_attn\\.[qv]|mlp\\.down)_proj/'],
  dropout: ['--lora-dropout', '0.5'],
}))
  test(`${name}: score with the adapter gives the figures of the run`, { skip }, async () => {
    const { code, stdout, stderr } = await train(name, ...flags);
    assert.equal(code, 0, stderr);
    const evaluated = readRows(stdout).findLast((row) => 'eval/loss' in row)!;
    const scored = await runCli([
      'score',
      '--model',
      demoModel,
      '--adapter',
      path(name),
      '-q',
      path('held-out.ndjson'),
    ]);
    assert.equal(scored.code, 0, scored.stderr);
    const sums = readRows(scored.stdout).map((row) => row.policy_chosen_logps as number);
    const mean = sums.reduce((total, sum) => total + sum, 0) / sums.length;
    assert.ok(Math.abs(mean - (evaluated['eval/logps/chosen'] as number)) < 1e-4);
    const shapes = readShapes(path(name));
    const { rank_pattern, alpha_pattern, target_modules, lora_dropout } = config(name);
    assert.equal(lora_dropout, name === 'dropout' ? 0.5 : 0);
    if (name === 'patterns') {
      assert.deepEqual(rank_pattern, { 'layers\\.0\\..*q_proj': 2, 'mlp\\.\\w+': 4 });
      assert.deepEqual(alpha_pattern, { 'layers\\.0\\..*q_proj': 6 });
      for (const [module, rank] of shapes)
        assert.equal(rank, /layers\.0\.self_attn\.q_proj/.test(module) ? 2 : /mlp/.test(module) ? 4 : 8, module);
    } else if (name === 'regex') {
      assert.deepEqual([...shapes.keys()].map((module) => module.slice(module.indexOf('layers.'))).sort(), [
        'layers.0.mlp.down_proj',
        'layers.0.self_attn.q_proj',
        'layers.0.self_attn.v_proj',
      ]);
      assert.match(target_modules, /layers\\\.0\\\.self_attn\\\.q_proj/);
    }
  });

test('targets and patterns that match nothing, or go with no adapter, are refused', { skip }, async () => {
  for (const [flags, message] of [
    [['--lora-targets', '/.*\\.c_attn/'], /--lora-targets: expected a match for linear layers of the language model/],
    [['--lora-pattern', 'c_attn=4'], /--lora-pattern: expected the end of a target's module path/],
    [['--lora-pattern', 'q_proj'], /--lora-pattern: expected REGEX=R or REGEX=R:ALPHA/],
    [['--lora-pattern', 'q_proj=0'], /with a rank in 1\.\.8192, got q_proj=0/],
    [['--lora-dropout', '1'], /--lora-dropout: expected a number below 1, got 1/],
  ] as const) {
    const { code, stderr } = await train('refused', ...flags);
    assert.equal(code, 2);
    assert.match(stderr, message);
  }
  const { stderr } = await train('all', '--lora-targets', 'all-linear', '--max-steps', '1');
  assert.match(
    stderr,
    /all-linear: q_proj, k_proj, v_proj, o_proj, gate_proj, up_proj, down_proj of the language model/,
  );
});
