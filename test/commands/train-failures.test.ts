// SPDX-License-Identifier: Apache-2.0
// What a training run does when something fails around it: memory, disk, images that go away, a resumed run that is not the same.
// Covers src/stages/train/memory.ts src/stages/train/checkpoint.ts src/stages/train/run-identity.ts
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { copyFileSync, existsSync, mkdirSync, readdirSync, readFileSync, unlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { before, test } from 'node:test';
import { withoutEngine as skip } from '../support/native.ts';
import { ensureBuilt, runCli, runShell, spawnCli, temporaryFolder } from '../support/run-cli.ts';

const model = 'fixtures/demo/tiny-llava';
const folder = temporaryFolder('train-failures');
const path = (name: string) => join(folder, name);

type Json = Record<string, unknown>;
const lines = (text: string): Json[] =>
  text
    .split('\n')
    .filter((line) => line.startsWith('{'))
    .map((line) => JSON.parse(line));

const pairs = lines(readFileSync('fixtures/demo/data/preference/annotated.jsonl', 'utf8'))
  .map(({ question_id, image, question, candidates }) => ({
    id: String(question_id),
    images: [`fixtures/demo/data/preference/images/${image}`],
    prompt: question,
    texts: [...new Set((candidates as Json[]).map(({ text }) => text as string))],
  }))
  .filter(({ texts }) => texts.length >= 2)
  .slice(0, 24)
  .map(({ texts, ...record }) => ({ ...record, chosen: texts[0]!, rejected: texts[1]! }));
const write = (name: string, rows: readonly object[]) => {
  writeFileSync(path(name), rows.map((row) => `${JSON.stringify(row)}\n`).join(''));
  return path(name);
};
const settings = ['--model', model, '--loss', 'simpo', '--lora-r', '8', '--lr', '1e-3', '--batch-size', '4'];
/** `settings` without those that `flags` give. */
const others = (flags: readonly string[]) =>
  settings.filter((_, index) => !flags.includes(settings[index - (index % 2)]!));
const train = (input: string, out: string, ...flags: string[]) =>
  runCli(['train', input, ...others(flags), '-o', path(out), ...flags]);
const adapterOf = (out: string) => readFileSync(join(path(out), 'adapter_model.safetensors'));
const checkpoints = (dir: string) =>
  readdirSync(dir)
    .filter((name) => /^checkpoint-\d+$/.test(name))
    .sort();

let input = '';
before(() => {
  input = write('pairs.ndjson', pairs);
});

test('the plan is printed before the first step; a limit chooses the level, holds, and changes no bit', {
  skip,
}, async () => {
  const flags = ['--batch-size', '24', '--max-steps', '2'];
  const refused = await train(input, 'refused', ...flags, '--memory-limit', '1M');
  assert.equal(refused.code, 1);
  const told =
    /--memory-limit: expected at least (\d+) MiB: \d+ MiB for the activations of a micro-batch of (\d+) rows at recompute level 3/;
  const [, least, numRows] = told.exec(refused.stderr) ?? assert.fail(refused.stderr);
  assert.ok(!existsSync(join(path('refused'), 'checkpoint-000002')));
  // A little more than the least: what the process itself takes varies by a few MiB.
  const tight = await train(input, 'tight', ...flags, '--memory-limit', `${Number(least) + 16}M`);
  assert.equal(tight.code, 0, tight.stderr);
  assert.match(
    tight.stderr,
    new RegExp(
      `trained parameters .* activations [\\d.]+ MiB for micro-batches of ${numRows} rows at recompute level [123] \\(`,
    ),
  );
  const peak = lines(tight.stdout).at(-1)!.peak_memory_bytes as number;
  assert.ok(peak < 1.25 * (Number(least) + 16) * 2 ** 20, `${peak / 2 ** 20} MiB of ${least} MiB`);
  const free = await train(input, 'free', ...flags);
  assert.match(free.stderr, /at recompute level 0 \(nothing\)/);
  assert.deepEqual(adapterOf('tight'), adapterOf('free'));
});

test('a full disk: checkpoints stay intact, the error names the path, and the run resumes when there is room', {
  skip,
}, async (t) => {
  ensureBuilt();
  const mount = (() => {
    try {
      execFileSync('unshare', ['-rm', 'sh', '-c', 'mount -t tmpfs none /mnt'], { stdio: 'ignore' });
      return true;
    } catch {
      return false;
    }
  })();
  if (!mount) return t.skip('no tmpfs can be mounted here');
  const disk = path('disk');
  mkdirSync(disk);
  const command = `vpref train ${input} ${settings.join(' ')} --epochs 2 --save-every 2 --keep-checkpoints 9 -q -o ${disk}/run`;
  const straight = await train(input, 'straight', '--epochs', '2');
  assert.equal(straight.code, 0, straight.stderr);
  // A checkpoint takes about 1.9 MiB (an adapter of 0.45 MiB, its state of 1.35): two fit.
  const script = `
    mount -t tmpfs -o size=5000k none ${disk}
    ${command} > ${folder}/first.out 2> ${folder}/first.err; echo "code $?"
    ls ${disk}/run; cp -r ${disk}/run ${folder}/left
    mount -o remount,size=64m ${disk}
    ${command} --resume 2>&1 >/dev/null; echo "code $?"
    cp ${disk}/run/adapter_model.safetensors ${folder}/full.safetensors`;
  const { stdout } = await runShell(`unshare -rm bash -c '${script}'`);
  assert.deepEqual(
    stdout.match(/code \d+/g),
    ['code 1', 'code 0'],
    `${stdout} ${readFileSync(path('first.err'), 'utf8')}`,
  );
  assert.match(
    readFileSync(path('first.err'), 'utf8'),
    /run\/checkpoint-\d+: could not be saved: .*(No space left on device|ENOSPC).*; earlier checkpoints are as they were/,
  );
  const left = checkpoints(path('left'));
  assert.ok(left.length >= 1, 'something was saved before the disk was full');
  assert.deepEqual(
    readdirSync(path('left')).filter((name) => name.includes('partial')),
    [],
  );
  // Each is a whole adapter.
  for (const name of left) {
    const scored = await runCli([
      'score',
      '--model',
      model,
      '--adapter',
      join(path('left'), name),
      '-q',
      '--limit',
      '1',
      input,
    ]);
    assert.equal(scored.code, 0, scored.stderr);
  }
  assert.deepEqual(readFileSync(path('full.safetensors')), adapterOf('straight'));
});

test('a limit on file sizes is a named error, and leaves no partial file', { skip }, async () => {
  const { code, stderr } = await runShell(
    `ulimit -f 64; vpref train ${input} ${settings.join(' ')} --max-steps 2 --save-every 1 -q -o ${path('small-files')}`,
  );
  assert.equal(code, 1);
  assert.match(stderr, /small-files\/checkpoint-000001: could not be saved: .*File too large/);
  assert.ok(!existsSync(path('small-files')));
});

test('an image that disappears during the run: the steps before it are saved', { skip }, async () => {
  const images = pairs.map((pair, index) => {
    const copy = path(`image-${index}.jpg`);
    copyFileSync(pair.images[0]!, copy);
    return { ...pair, images: [copy] };
  });
  const moving = write('moving.ndjson', images);
  const child = spawnCli(['train', moving, ...settings, '-o', path('moved'), '--no-shuffle', '-q', '--epochs', '1']);
  child.stdin!.end();
  let err = '';
  let out = '';
  child.stderr!.on('data', (chunk) => {
    err += chunk;
  });
  child.stdout!.on('data', (chunk) => {
    if (out === '') unlinkSync(path('image-23.jpg'));
    out += chunk;
  });
  const code = await new Promise((resolve) => child.on('close', resolve));
  assert.equal(code, 2, err);
  assert.match(err, /moving\.ndjson:24: images\[0\]: expected an image file, got .*image-23\.jpg: no such file/);
  const done = lines(out).length;
  assert.ok(done >= 1);
  assert.deepEqual(checkpoints(path('moved')), [`checkpoint-${String(done).padStart(6, '0')}`]);
});

test('a resumed run that differs is refused with the differences', { skip }, async () => {
  assert.equal((await train(input, 'named', '--max-steps', '2')).code, 0);
  const cases: [string[], string, RegExp][] = [
    [['--lr', '5e-4'], input, /\(--lr: 0\.001 there, 0\.0005 here\)/],
    [['--batch-size', '6', '--beta', '0.2'], input, /--beta: 0\.1 there, 0\.2 here; .*--batch-size: 4 there, 6 here/],
    [['--simpo-gamma', '0.7'], input, /--simpo-gamma: 0\.5 there, 0\.7 here/],
    [['--quantize', 'nf4'], input, /\(--quantize: none there, nf4 here\)/],
    [['--dtype', 'bf16'], input, /\(--dtype: f32 there, bf16 here\)/],
    [['--no-shuffle'], input, /shuffle \(--no-shuffle\): true there, false here/],
    [['--max-steps', '3'], input, /steps \(--epochs, --max-steps\): 2 there, 3 here/],
    [[], write('others.ndjson', pairs.slice(1)), /\(input: other records\)/],
  ];
  for (const [flags, file, message] of cases) {
    const own = flags.includes('--max-steps') ? [] : ['--max-steps', '2'];
    const { code, stderr } = await runCli([
      'train',
      file,
      ...others(flags),
      ...own,
      ...flags,
      '-o',
      path('named'),
      '--resume',
    ]);
    assert.equal(code, 2, stderr);
    assert.match(stderr, message);
  }
  // How the work is cut is no part of it.
  const other = await train(input, 'named', '--max-steps', '2', '--resume', '--recompute', '3', '--threads', '1');
  assert.equal(other.code, 0, other.stderr);
});

test('a damaged checkpoint is an error with its file', { skip }, async () => {
  assert.equal((await train(input, 'damaged', '--max-steps', '2')).code, 0);
  const state = join(path('damaged'), 'checkpoint-000002/trainer_state.json');
  writeFileSync(state, '{"step":2');
  const broken = await train(input, 'damaged', '--max-steps', '2', '--resume');
  assert.equal(broken.code, 1);
  assert.match(broken.stderr, /checkpoint-000002\/trainer_state\.json: expected the state of a run, got/);
});

test('killed while it computes the reference, it resumes there and gives the same bytes', { skip }, async () => {
  const live = ['--loss', 'sigmoid', '--max-steps', '2'];
  const run = (out: string, ...flags: string[]) => train(input, out, ...live, ...flags);
  assert.equal((await run('ref-straight', '-q')).code, 0);
  const file = join(path('ref-cut'), 'reference.ndjson');
  mkdirSync(path('ref-cut'));
  // As a kill leaves it: three batches and a torn one.
  const whole = readFileSync(join(path('ref-straight'), 'reference.ndjson'), 'utf8').split('\n');
  assert.equal(whole.length, 1 + 6 + 1);
  writeFileSync(file, `${whole.slice(0, 4).join('\n')}\n${whole[4]!.slice(0, 20)}`);
  const went = await run('ref-cut');
  assert.equal(went.code, 0, went.stderr);
  assert.match(went.stderr, /reference log-probs: resuming after 12 of 24 rows/);
  assert.equal(readFileSync(file, 'utf8'), whole.join('\n'));
  assert.deepEqual(adapterOf('ref-cut'), adapterOf('ref-straight'));
});

const refusals: [name: string, rows: () => readonly object[], flags: string[], message: RegExp][] = [
  ['beta 0', () => pairs, ['--beta', '0'], /--beta: expected a number above 0/],
  ['epochs 0', () => pairs, ['--epochs', '0'], /--epochs: expected a number above 0/],
  ['alpha 0', () => pairs, ['--lora-alpha', '0'], /--lora-alpha: expected a number above 0/],
  ['lr nan', () => pairs, ['--lr', 'nan'], /--lr: expected a number/],
  ['nothing to train', () => pairs, ['--lora-r', '0'], /nothing to train/],
  ['an unknown target', () => pairs, ['--lora-targets', 'foo'], /lora_targets: expected q_proj.*got foo/],
  [
    'kto without labels',
    () => [{ id: '1', prompt: 'q', response: 'a' }],
    ['--loss', 'kto'],
    /:1: label: expected true or false/,
  ],
  [
    'kto with the projector',
    () => pairs,
    ['--loss', 'kto', '--train-projector'],
    /--train-projector: not supported with loss kto/,
  ],
  [
    'a hyperparameter that the loss does not read',
    () => pairs,
    ['--loss', 'ipo', '--label-smoothing', '0.1'],
    /--label-smoothing: loss ipo does not use it/,
  ],
  [
    'the same in a sum',
    () => pairs,
    ['--loss', 'sigmoid,sft', '--simpo-gamma', '1'],
    /--simpo-gamma: loss sigmoid,sft/,
  ],
  [
    'a missing field far down',
    () => pairs.map(({ rejected, ...pair }, index) => (index === 20 ? pair : { ...pair, rejected })),
    [],
    /:21: rejected: expected a string or strings, got nothing/,
  ],
  [
    'a missing image far down',
    () => pairs.map((pair, index) => (index === 20 ? { ...pair, images: ['/no/such.png'] } : pair)),
    [],
    /:21: images\[0\]: expected an image file, got \/no\/such\.png: no such file/,
  ],
  [
    'a prompt longer than the positions',
    () => pairs.map((pair, index) => (index === 20 ? { ...pair, prompt: 'bee '.repeat(600) } : pair)),
    [],
    /:21: prompt: expected at most 512 tokens/,
  ],
  [
    'too many reference sums',
    () => pairs.map((pair) => ({ ...pair, ref_chosen_logps: -3, ref_rejected_logps: [-4, -5] })),
    ['--loss', 'sigmoid'],
    /:1: ref_rejected_logps: expected 1 number, got 2/,
  ],
];
for (const [name, rows, flags, message] of refusals)
  test(`refused before the first step: ${name}`, { skip }, async () => {
    const file = write('refused.ndjson', rows());
    const { code, stderr, stdout } = await runCli([
      'train',
      file,
      ...others(flags),
      ...flags,
      '-o',
      path('refused-run'),
      '-q',
    ]);
    assert.equal(code, 2, stderr);
    assert.match(stderr, message);
    assert.equal(stdout, '');
  });

test('pairs of equal answers are counted', { skip }, async () => {
  const equal = write(
    'equal.ndjson',
    pairs.map((pair, index) => (index < 3 ? { ...pair, rejected: pair.chosen } : pair)),
  );
  const { code, stderr } = await train(equal, 'equal', '--max-steps', '1');
  assert.equal(code, 0, stderr);
  assert.match(stderr, /3 records have equal chosen and rejected responses, of 24/);
});
