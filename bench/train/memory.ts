// SPDX-License-Identifier: Apache-2.0
// The memory plan of training compared with a run's memory: micro-batches of 4,096 rows on the demo model at each recompute level.
import { execFileSync, spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { report, root, vpref } from '../support/run.ts';

const folder = mkdtempSync(join(tmpdir(), 'vpref-memory-'));
const model = join(root, 'fixtures/demo/tiny-llava');
const preference = join(root, 'fixtures/demo/data/preference');

const pairs = readFileSync(join(preference, 'annotated.jsonl'), 'utf8')
  .trim()
  .split('\n')
  .map((line) => JSON.parse(line))
  .map(({ question_id, image, question, candidates }) => ({
    id: String(question_id),
    images: [join(preference, 'images', image)],
    prompt: question,
    chosen: candidates[0].text,
    rejected: candidates[1].text,
  }));
const input = join(folder, 'pairs.ndjson');
writeFileSync(
  input,
  pairs
    .slice(0, 96)
    .map((pair) => `${JSON.stringify(pair)}\n`)
    .join(''),
);

const [node, ...main] = vpref as [string, ...string[]];
for (const level of ['0', '1', '2', '3']) {
  const flags = ['--loss', 'simpo', '--batch-size', '48', '--max-steps', '2', '--lora-r', '64', '--recompute', level];
  const run = spawnSync(node, [...main, 'train', input, '--model', model, ...flags, '-o', join(folder, level)], {
    encoding: 'utf8',
  });
  const plan = /activations ([\d.]+) MiB for micro-batches of (\d+) rows/.exec(run.stderr);
  if (run.status !== 0 || plan === null) throw new Error(run.stderr);
  const last = JSON.parse(run.stdout.trim().split('\n').at(-1)!);
  const sha256 = execFileSync('sha256sum', [join(folder, level, 'adapter_model.safetensors')], { encoding: 'utf8' });
  report('train-memory', {
    recompute: Number(level),
    micro_batch_rows: Number(plan[2]),
    planned_activation_mebibytes: Number(plan[1]),
    peak_process_mebibytes: Math.round(last.peak_memory_bytes / 2 ** 20),
    adapter: sha256.slice(0, 12),
  });
}
rmSync(folder, { recursive: true, force: true });
