// SPDX-License-Identifier: Apache-2.0
// Covers src/cli/train-run.ts
// Training through the real binary on the demo model: what holds between runs that must agree, and what a user sees when something is wrong.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { metricKeys } from '../../scripts/interface.ts';
import { withoutEngine as skip } from '../support/native.ts';
import { runCli, spawnCli } from '../support/run-cli.ts';

const model = 'fixtures/demo/tiny-llava';
const folder = mkdtempSync(join(tmpdir(), 'vpref-train-'));
after(() => rmSync(folder, { recursive: true, force: true }));
const path = (name: string) => join(folder, name);

type Json = Record<string, unknown>;
const readRows = (text: string): Json[] =>
  text
    .split('\n')
    .filter(Boolean)
    .map((line) => JSON.parse(line));

const annotated = readRows(readFileSync('fixtures/demo/data/preference/annotated.jsonl', 'utf8'));
/** Twelve pairs with three rejected answers each. */
const pairs = annotated
  .map(({ question_id, image, question, candidates }) => ({
    id: String(question_id),
    images: [`fixtures/demo/data/preference/images/${image}`],
    prompt: question,
    texts: [...new Set((candidates as Json[]).map(({ text }) => text as string))],
  }))
  .filter(({ texts }) => texts.length === 4)
  .slice(0, 12)
  .map(({ texts, ...record }) => ({
    ...record,
    chosen: texts[0]!,
    rejected: texts[1]! as string | string[],
    more: texts.slice(1),
  }));

const write = (name: string, rows: readonly object[]) => {
  writeFileSync(path(name), rows.map((row) => `${JSON.stringify(row)}\n`).join(''));
  return path(name);
};
const settings = ['--model', model, '--lora-r', '8', '--lr', '1e-3', '--batch-size', '4', '-q'];
const train = async (input: string, out: string, ...flags: string[]) => {
  const result = await runCli(['train', input, ...settings, '-o', path(out), ...flags]);
  return { ...result, rows: readRows(result.stdout) };
};
const adapter = (out: string) => readFileSync(join(path(out), 'adapter_model.safetensors'));
const losses = (rows: Json[]) => rows.map(({ loss }) => loss as number);

let withReference = '';
before(async () => {
  if (skip) return;
  const input = write('pairs.ndjson', pairs);
  withReference = path('pairs.ref.ndjson');
  const { code, stderr } = await runCli(['precompute-ref', '--model', model, '-q', input, '-o', withReference]);
  assert.equal(code, 0, stderr);
});

test('metrics: one row per step, reward 0 and log 2 at the start, growing margins', { skip }, async () => {
  const { code, rows, stderr } = await train(withReference, 'straight', '--epochs', '2', '--warmup-ratio', '0');
  assert.equal(code, 0, stderr);
  assert.deepEqual(
    rows.map(({ step }) => step),
    [1, 2, 3, 4, 5, 6],
  );
  assert.ok(Math.abs(losses(rows)[0]! - Math.LN2) < 1e-5, `first loss ${rows[0]!.loss}`);
  assert.ok(Math.abs(rows[0]!['rewards/margins'] as number) < 1e-4);
  assert.ok((rows[5]!['rewards/margins'] as number) > 0.01);
  assert.equal(rows[5]!.epoch, 2);
  assert.ok(existsSync(join(path('straight'), 'adapter_config.json')));
});

test('the same run again gives the same adapter; a stored reference is the live one', { skip }, async () => {
  await train(withReference, 'again', '--epochs', '2', '--warmup-ratio', '0');
  assert.deepEqual(adapter('again'), adapter('straight'));
  const live = await runCli([
    'train',
    path('pairs.ndjson'),
    ...settings.filter((flag) => flag !== '-q'),
    '-o',
    path('live'),
    '--epochs',
    '2',
    '--warmup-ratio',
    '0',
  ]);
  assert.equal(live.code, 0, live.stderr);
  assert.match(live.stderr, /12 rows have no reference log-probs: computing them/);
  const [stored, computed] = [
    (await train(withReference, 'stored', '--epochs', '2', '--warmup-ratio', '0')).rows,
    readRows(live.stdout),
  ];
  for (const [index, loss] of losses(stored).entries()) assert.ok(Math.abs(loss - losses(computed)[index]!) < 5e-5);
});

test('micro-batches of one record give what one batch gives', { skip }, async () => {
  const whole = await train(withReference, 'whole', '--max-steps', '2');
  const single = await train(withReference, 'single', '--max-steps', '2', '--batch-tokens', '1');
  for (const [index, loss] of losses(whole.rows).entries())
    assert.ok(Math.abs(loss - losses(single.rows)[index]!) < 5e-5);
});

test('stopped by SIGTERM it saves, exits 75, and the resumed run ends in the same bytes', { skip }, async () => {
  const flags = ['--epochs', '4', '--save-every', '2'];
  await train(withReference, 'unbroken', ...flags);
  const child = spawnCli(['train', withReference, ...settings, '-o', path('stopped'), ...flags]);
  child.stdin!.end();
  let out = '';
  child.stdout!.on('data', (chunk) => {
    out += chunk;
    if (out.split('\n').length > 3) child.kill('SIGTERM');
  });
  const [code] = await once(child, 'close');
  assert.equal(code, 75);
  assert.ok(readRows(out).length < 12, 'it was stopped before its end');
  const resumed = await train(withReference, 'stopped', ...flags, '--resume');
  assert.equal(resumed.code, 0, resumed.stderr);
  assert.equal(readRows(out).length + resumed.rows.length, 12);
  assert.deepEqual(adapter('stopped'), adapter('unbroken'));
});

test('killed at once and resumed: no step is lost that a checkpoint holds', { skip }, async () => {
  const flags = ['--epochs', '4', '--save-every', '1'];
  const child = spawnCli(['train', withReference, ...settings, '-o', path('killed'), ...flags]);
  child.stdin!.end();
  let out = '';
  child.stdout!.on('data', (chunk) => {
    out += chunk;
    if (out.split('\n').length > 3) child.kill('SIGKILL');
  });
  await once(child, 'close');
  assert.ok(readdirSync(path('killed')).some((name) => /^checkpoint-\d+$/.test(name)));
  const resumed = await train(withReference, 'killed', ...flags, '--resume');
  assert.equal(resumed.code, 0, resumed.stderr);
  assert.deepEqual(adapter('killed'), adapter('unbroken'));
});

test('every loss runs; those without a reference need no ref fields', { skip }, async () => {
  const bare = path('pairs.ndjson');
  for (const loss of ['ipo', 'ipo-token-mean', 'hinge', 'robust', 'nca', 'apo-zero', 'apo-down', 'sigmoid:1,sft:0.1']) {
    const { code, rows, stderr } = await train(withReference, `loss-${loss}`, '--loss', loss, '--max-steps', '1');
    assert.equal(code, 0, `${loss}: ${stderr}`);
    assert.ok(Number.isFinite(rows[0]!.loss), loss);
  }
  for (const loss of ['simpo', 'orpo', 'cpo']) {
    const { code, stderr } = await train(bare, `loss-${loss}`, '--loss', loss, '--max-steps', '1');
    assert.equal(code, 0, `${loss}: ${stderr}`);
    assert.ok(!existsSync(join(path(`loss-${loss}`), 'reference.ndjson')));
  }
  const exo = await train(withReference, 'loss-exo', '--loss', 'exo', '--label-smoothing', '0.1', '--max-steps', '1');
  assert.equal(exo.code, 0, exo.stderr);
});

test('K negatives, image negatives, unpaired answers', { skip }, async () => {
  const negatives = write(
    'negatives.ndjson',
    pairs.map(({ more, ...pair }) => ({ ...pair, rejected: more })),
  );
  const softmax = await train(negatives, 'softmax', '--loss', 'softmax', '--max-steps', '1');
  assert.equal(softmax.code, 0, softmax.stderr);
  assert.ok(Math.abs(losses(softmax.rows)[0]! - Math.log(4)) < 1e-4, 'log (1 + 3) at the reference');
  const images = write(
    'images.ndjson',
    pairs.map((pair, index) => ({ ...pair, rejected_images: pairs[(index + 1) % pairs.length]!.images })),
  );
  const mdpo = await train(images, 'mdpo', '--loss', 'mdpo', '--max-steps', '1');
  assert.equal(mdpo.code, 0, mdpo.stderr);
  assert.ok(Math.abs(losses(mdpo.rows)[0]! - 3 * Math.LN2) < 1e-4, 'three terms of log 2 at the reference');
  const unpaired = write(
    'unpaired.ndjson',
    pairs.map(({ chosen, rejected, more, ...record }, index) => ({
      ...record,
      response: index % 2 ? chosen : more[0],
      label: index % 2 === 1,
    })),
  );
  const kto = await train(unpaired, 'kto', '--loss', 'kto', '--max-steps', '2', '--warmup-ratio', '0');
  assert.equal(kto.code, 0, kto.stderr);
  assert.ok(Math.abs(losses(kto.rows)[0]! - 0.5) < 1e-4, '1 - sigmoid(0) at the reference');
});

test('sft learns its answers, of the last turn or of all', { skip }, async () => {
  const answers = write(
    'answers.ndjson',
    pairs.map(({ id, images, prompt, chosen }) => ({ id, images, prompt, response: chosen })),
  );
  const sft = await train(answers, 'sft', '--method', 'sft', '--epochs', '4', '--warmup-ratio', '0');
  assert.equal(sft.code, 0, sft.stderr);
  assert.ok(losses(sft.rows).at(-1)! < losses(sft.rows)[0]!);
  const dialogue = write(
    'dialogue.ndjson',
    pairs.map(({ id, images, prompt, chosen, more }) => ({
      id,
      images,
      prompt: [
        { role: 'user', content: prompt },
        { role: 'assistant', content: more[0] },
        { role: 'user', content: 'Is there a bee in the image?' },
      ],
      response: chosen,
    })),
  );
  const last = await train(dialogue, 'sft-last', '--method', 'sft', '--max-steps', '1', '--no-shuffle');
  const all = await train(
    dialogue,
    'sft-all',
    '--method',
    'sft',
    '--max-steps',
    '1',
    '--no-shuffle',
    '--loss-on',
    'all',
  );
  assert.equal(all.code, 0, all.stderr);
  assert.notEqual(losses(all.rows)[0], losses(last.rows)[0]);
});

test('--loss-on all: the mean over the tokens of every answer, the end token of each included', { skip }, async () => {
  const [{ id, images, prompt, chosen, more }] = pairs as [(typeof pairs)[number]];
  const second = 'Is there a bee in the image?';
  const turns = [
    { role: 'user', content: prompt },
    { role: 'assistant', content: more[0] },
    { role: 'user', content: second },
  ];
  const dialogue = write('one-dialogue.ndjson', [{ id, images, prompt: turns, response: chosen }]);
  const first = write('one-first.ndjson', [{ id, images, prompt, response: more[0] }]);
  const template = ['--template', 'vicuna_v1'];
  const loss = async (file: string, lossOn: string) => {
    const flags = ['--method', 'sft', '--max-steps', '1', '--loss-on', lossOn, ...template];
    const { rows, stderr, code } = await train(file, `turns-${lossOn}-${file.length}`, ...flags);
    assert.equal(code, 0, stderr);
    return { loss: rows[0]!.loss as number, sum: -(rows[0]!['logps/chosen'] as number) };
  };
  const [all, last, alone] = [await loss(dialogue, 'all'), await loss(dialogue, 'last'), await loss(first, 'last')];
  // Both answers' sums, and the tokens that either mean goes over.
  assert.ok(Math.abs(all.sum - (last.sum + alone.sum)) < 1e-3, `${all.sum} ${last.sum} ${alone.sum}`);
  const tokens = Math.round(last.sum / last.loss) + Math.round(alone.sum / alone.loss);
  assert.ok(Math.abs(all.loss - all.sum / tokens) < 1e-5);
});

test('score | eval rewards gives a finished adapter the rewards that training sees', { skip }, async () => {
  const out = 'rewards';
  const flags = ['--epochs', '2', '--warmup-ratio', '0', '--batch-size', '12'];
  const own = settings.filter((_, index) => settings[index - (index % 2)] !== '--batch-size');
  const made = await runCli(['train', withReference, ...own, ...flags, '-o', path(out)]);
  assert.equal(made.code, 0, made.stderr);
  const scored = await runCli(['score', '--model', model, '--adapter', path(out), '-q', withReference]);
  assert.equal(scored.code, 0, scored.stderr);
  const rewards = await runCli(['eval', 'rewards', '-q'], { input: scored.stdout });
  assert.equal(rewards.code, 0, rewards.stderr);
  const all = readRows(rewards.stdout).find(({ split }) => split === 'all')!;
  // A step of a run that starts from the adapter: its figures are from before the update.
  const args = ['--model', model, '--init-adapter', path(out), '--allow-ref-mismatch', '--batch-size', '12', '-q'];
  const next = await runCli(['train', withReference, ...args, '--max-steps', '1', '-o', path('rewards-next')]);
  assert.equal(next.code, 0, next.stderr);
  const step = readRows(next.stdout)[0]!;
  for (const key of metricKeys.filter((name) => /^(loss$|rewards\/|logps\/)/.test(name)))
    assert.ok(Math.abs((all[key] as number) - (step[key] as number)) < 1e-4, `${key}: ${all[key]} ${step[key]}`);
});

test('the projector, the language model, another adapter to start from', { skip }, async () => {
  const projector = await train(
    withReference,
    'projector',
    '--train-projector',
    '--projector-lr',
    '1e-4',
    '--max-steps',
    '1',
  );
  assert.equal(projector.code, 0, projector.stderr);
  assert.match(adapter('projector').toString('latin1', 0, 20_000), /multi_modal_projector\.linear_1\.weight/);
  const onward = ['--init-adapter', path('straight'), '--max-steps', '1', '-q'];
  const went = await runCli(['train', path('pairs.ndjson'), '--model', model, '-o', path('onward'), ...onward]);
  assert.equal(went.code, 0, went.stderr);
  const whole = ['--train-language-model', '--lr', '1e-4', '--batch-size', '4', '--max-steps', '2', '-q'];
  const full = await runCli(['train', withReference, '--model', model, '-o', path('full'), ...whole]);
  assert.equal(full.code, 0, full.stderr);
  const answered = await runCli(['sample', '--model', path('full'), '-q', path('pairs.ndjson'), '--limit', '1']);
  assert.equal(answered.code, 0, answered.stderr);
  assert.notEqual(
    readFileSync(join(path('full'), 'model.safetensors')).compare(readFileSync(join(model, 'model.safetensors'))),
    0,
  );
});

test('export merge: the merged checkpoint scores as the adapter does', { skip }, async () => {
  const merged = await runCli([
    'export',
    'merge',
    '--model',
    model,
    '--adapter',
    path('straight'),
    '--dtype',
    'f32',
    '-o',
    path('merged'),
  ]);
  assert.equal(merged.code, 0, merged.stderr);
  assert.match(merged.stderr, /28 linear layers merged/);
  const sums = async (...flags: string[]) => {
    const { stdout, stderr, code } = await runCli(['score', '-q', ...flags, path('pairs.ndjson')]);
    assert.equal(code, 0, stderr);
    return readRows(stdout).map(({ policy_chosen_logps }) => policy_chosen_logps as number);
  };
  const [fromMerged, fromAdapter, base] = [
    await sums('--model', path('merged')),
    await sums('--model', model, '--adapter', path('straight')),
    await sums('--model', model),
  ];
  for (const [index, logps] of fromMerged.entries())
    assert.ok(Math.abs(logps - fromAdapter[index]!) < 2e-3, `${logps} ${fromAdapter[index]}`);
  assert.ok(
    base.some((logps, index) => Math.abs(logps - fromAdapter[index]!) > 0.1),
    'the adapter matters',
  );
  const again = await runCli([
    'export',
    'merge',
    '--model',
    model,
    '--adapter',
    path('straight'),
    '-o',
    path('merged'),
  ]);
  assert.equal(again.code, 2);
});

const refusals: [string, () => Promise<{ code: number; stderr: string }>, number, RegExp][] = [
  [
    'no output directory',
    () => runCli(['train', withReference, '--model', model]),
    2,
    /-o: expected the directory for the adapter/,
  ],
  [
    'no records',
    () => runCli(['train', '--model', model, '-o', path('none')], { input: '' }),
    2,
    /expected at least one record/,
  ],
  ['an unknown loss', () => train(withReference, 'unknown', '--loss', 'dpo2'), 2, /loss: expected one of .*got dpo2/],
  ['exo without smoothing', () => train(withReference, 'exo', '--loss', 'exo'), 2, /label_smoothing: loss exo expects/],
  [
    'a pair without rejected',
    () => train(write('half.ndjson', [{ id: '1', prompt: 'q', chosen: 'a' }]), 'half'),
    2,
    /half\.ndjson:1: rejected: expected/,
  ],
  [
    'kto with one row a step',
    () => train(write('one.ndjson', [{ id: '1', prompt: 'q', response: 'a', label: true }]), 'one', '--loss', 'kto'),
    1,
    /needs at least two rows/,
  ],
  ['a full run in the same directory', () => train(withReference, 'straight'), 2, /holds checkpoints of another run/],
  [
    'a resumed run with other settings',
    () => train(withReference, 'straight', '--resume', '--beta', '0.3'),
    2,
    /other rows or settings/,
  ],
  [
    "another model's reference",
    () => {
      const rows = readRows(readFileSync(withReference, 'utf8')).map((row) => ({
        ...row,
        ref: { ...(row.ref as Json), model: 'sha256:0' },
      }));
      return train(write('foreign.ndjson', rows), 'foreign');
    },
    2,
    /foreign\.ndjson:1: ref\.model: expected sha256:.*\(or --allow-ref-mismatch\), got sha256:0/,
  ],
];
for (const [name, run, code, message] of refusals) {
  test(`refused: ${name}`, { skip }, async () => {
    const result = await run();
    assert.equal(result.code, code, result.stderr);
    assert.match(result.stderr, message);
  });
}
