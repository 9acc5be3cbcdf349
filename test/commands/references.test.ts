// SPDX-License-Identifier: Apache-2.0
// Stored reference sums, long records and what ends an answer, through the real binary.
// Covers src/stages/train/measure.ts src/stages/train/first-rewards.ts src/stages/reference-inputs.ts
import assert from 'node:assert/strict';
import { copyFileSync, cpSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { before, test } from 'node:test';
import { demoModel, demoPairs, readRows, toNdjson } from '../support/demo-pairs.ts';
import { withoutEngine as skip } from '../support/native.ts';
import { runCli, temporaryFolder } from '../support/run-cli.ts';

const folder = temporaryFolder('references');
const path = (name: string) => join(folder, name);
type Json = Record<string, unknown>;
const write = (name: string, rows: readonly object[]) => {
  writeFileSync(path(name), toNdjson(rows));
  return path(name);
};
let runs = 0;
const train = (input: string, ...flags: string[]) =>
  runCli([
    ...['train', input, '--model', demoModel, '--lora-r', '2', '--batch-size', '4', '--max-steps', '1'],
    ...['-o', path(`run-${runs++}`), ...flags],
  ]);

let stored: Json[] = [];
before(async () => {
  if (skip) return;
  // The pictures are this test's own, so that one can be changed.
  const pairs = demoPairs(4).map((pair, index) => {
    copyFileSync((pair.images as string[])[0]!, path(`${index}.jpg`));
    return { ...pair, images: [path(`${index}.jpg`)] };
  });
  const { stdout, code, stderr } = await runCli(['precompute-ref', '--model', demoModel, write('pairs.ndjson', pairs)]);
  assert.equal(code, 0, stderr);
  stored = readRows(stdout);
});

test('stored references of these texts and images are taken, and the first rewards are 0', { skip }, async () => {
  const { stdout, stderr, code } = await train(write('stored.ndjson', stored));
  assert.equal(code, 0, stderr);
  const [row] = readRows(stdout);
  assert.ok(Math.abs((row!['rewards/chosen'] as number) / 0.1) < 0.02, stdout);
  assert.doesNotMatch(stderr, /first-rewards/);
});

test('an edited text or picture, another dtype and sums without an origin are refused, naming what differs', {
  skip,
}, async () => {
  const refused = async (change: (row: Json) => Json, message: RegExp) => {
    const { code, stderr } = await train(write('changed.ndjson', stored.map(change)));
    assert.equal(code, 2, stderr);
    assert.match(stderr, message);
  };
  await refused((row) => ({ ...row, rejected: `${row.rejected} Or not.` }), /changed\.ndjson:1: rejected: expected/);
  await refused((row) => ({ ...row, prompt: 'Why?' }), /changed\.ndjson:1: prompt: expected the token ids/);
  await refused((row) => ({ ...row, images: [path('3.jpg')] }), /changed\.ndjson:1: images: .*got other bytes/);
  await refused((row) => ({ ...row, ref: { ...(row.ref as Json), dtype: 'bf16' } }), /ref\.dtype: expected f32/);
  await refused(({ ref: _, ...row }) => row, /:1: ref: expected what computed ref_\*.*--allow-ref-mismatch.*got none/);
});

test('sums of another origin are accepted on request, and first rewards that are not 0 give a warning', {
  skip,
}, async () => {
  const zero = stored.map(({ ref: _, ...row }) => ({ ...row, ref_chosen_logps: 0, ref_rejected_logps: 0 }));
  const { code, stderr } = await train(write('zero.ndjson', zero), '--allow-ref-mismatch');
  assert.equal(code, 0, stderr);
  assert.match(stderr, /first-rewards: .* 4 of the first step's 4 records are not 0/);
});

test('references of version 0.1 are accepted, with a note that they are not verified', { skip }, async () => {
  const old = stored.map(({ ref, ...row }) => {
    const { inputs: _, ...rest } = ref as Json;
    return { ...row, ref: rest };
  });
  const { code, stderr } = await train(write('old.ndjson', old));
  assert.equal(code, 0, stderr);
  assert.match(stderr, /4 references were computed by version 0\.1: texts and template are not verified/);
});

test('a record that is too long ends the run, or is dropped and counted', { skip }, async () => {
  const long = { ...demoPairs(1)[0]!, id: 'long', chosen: 'There is a cat. '.repeat(200) };
  const input = write('long.ndjson', [...demoPairs(4), long]);
  const failed = await train(input, '--loss', 'simpo');
  assert.equal(failed.code, 2);
  assert.match(failed.stderr, /long\.ndjson:5: prompt and response: expected at most \d+ tokens/);
  const dropped = await train(input, '--loss', 'simpo', '--on-long', 'drop');
  assert.equal(dropped.code, 0, dropped.stderr);
  assert.match(dropped.stderr, /1 record is too long and left out, of 5/);
  const none = await train(input, '--loss', 'simpo', '--on-long', 'drop', '--max-length', '20');
  assert.equal(none.code, 2);
  assert.match(none.stderr, /expected at least one record that is not too long/);
});

test('an answer cut at a --stop text gets the same log-probability from score as from sample', { skip }, async () => {
  const prompts = demoPairs(1).map(({ chosen: _c, rejected: _r, ...row }) => row);
  const whole = await runCli(['sample', '--model', demoModel, '--logps', write('ask.ndjson', prompts)]);
  type Answer = { text: string; stop?: string; logps: number; num_tokens: number };
  const answerOf = (text: string) => (readRows(text)[0] as { responses: Answer[] }).responses[0]!;
  assert.equal(answerOf(whole.stdout).stop, undefined);
  // The third word, as a text that is no token of its own.
  const stop = answerOf(whole.stdout).text.split(' ')[2]!;
  const flags = ['--model', demoModel, '--logps', '--stop', stop];
  const cut = await runCli(['sample', ...flags, path('ask.ndjson')]);
  const sampled = answerOf(cut.stdout);
  assert.equal(sampled.stop, stop);
  writeFileSync(path('cut.ndjson'), cut.stdout);
  const scored = answerOf((await runCli(['score', '--model', demoModel, path('cut.ndjson')])).stdout);
  assert.equal(scored.num_tokens, sampled.num_tokens);
  assert.ok(Math.abs(scored.logps - sampled.logps) < 1e-3, `${scored.logps} ${sampled.logps}`);
});

test('special tokens in texts are counted in one warning', { skip }, async () => {
  const rows = demoPairs(3).map((row, index) => (index < 2 ? { ...row, prompt: 'Is </s> a token?' } : row));
  const { stderr, code } = await runCli(['score', '--model', demoModel, write('special.ndjson', rows)]);
  assert.equal(code, 0, stderr);
  assert.match(stderr, /2 records have special tokens in their texts \(<\/s> at .*special\.ndjson:1\)/);
});

test('a variable that the template does not read, or that is no K=V, is refused', { skip }, async () => {
  const ask = path('ask.ndjson');
  const unread = await runCli(['sample', '--model', demoModel, '--template-arg', 'mood=1', ask]);
  assert.equal(unread.code, 2);
  assert.match(unread.stderr, /--template-arg mood: the checkpoint's chat template does not use it/);
  const torn = await runCli(['sample', '--model', demoModel, '--template-arg', 'mood', ask]);
  assert.match(torn.stderr, /--template-arg: expected NAME=VALUE, got "mood"/);
});

test('a tokenizer with more tokens than the model has rows: file, line, id and size, in train too', {
  skip,
}, async () => {
  const wide = path('wide');
  cpSync(demoModel, wide, { recursive: true });
  const definition = JSON.parse(readFileSync(join(wide, 'tokenizer.json'), 'utf8')) as { added_tokens: object[] };
  definition.added_tokens.push({ id: 5000, content: '<far>', special: true });
  writeFileSync(join(wide, 'tokenizer.json'), JSON.stringify(definition));
  const input = write('far.ndjson', [demoPairs(1)[0]!, { ...demoPairs(1)[0]!, id: 'far', rejected: 'A <far> cat.' }]);
  for (const command of [['score'], ['train', '--loss', 'simpo', '-o', path('far')]]) {
    const { code, stderr } = await runCli([...command, '--model', wide, input]);
    assert.equal(code, 2, stderr);
    assert.match(stderr, /far\.ndjson:2: \w+: expected token ids below \d+ \(vocab_size\), got 5000 \("<far>"\)/);
  }
});

test('a template that writes the date: a run is resumed with the same date or refused, and a record keeps its own', {
  skip,
}, async () => {
  const dated = path('dated');
  cpSync(demoModel, dated, { recursive: true });
  writeFileSync(
    join(dated, 'chat_template.jinja'),
    "{{ strftime_now('%d %b %Y') }}{% for m in messages %} {{ m.role }}: {{ m.content }}{{ eos_token if m.role == 'assistant' }}{% endfor %}{% if add_generation_prompt %} assistant:{% endif %}",
  );
  const pairs = write('dated.ndjson', demoPairs(2));
  const day = (date: string) => ['--template-arg', `strftime_now=${date}`];
  const run = (out: string, ...flags: string[]) =>
    runCli(['train', pairs, '--model', dated, '--lora-r', '2', '--max-steps', '1', '-o', path(out), ...flags]);
  assert.equal((await run('dated-run', ...day('2024-07-26'))).code, 0);
  const other = await run('dated-run', '--resume', ...day('2024-07-27'));
  assert.equal(other.code, 2);
  assert.match(other.stderr, /--template-arg: \{"strftime_now":"2024-07-26"\} there/);
  const open = await runCli(['precompute-ref', '--model', dated, pairs]);
  assert.match(open.stderr, /the chat template writes the date: it gets \d{4}-\d\d-\d\d \(--template-arg/);
  const stored = await runCli(['precompute-ref', '--model', dated, ...day('2024-07-26'), pairs]);
  const [first] = readRows(stored.stdout) as { ref: { template_args: unknown } }[];
  assert.deepEqual(first!.ref.template_args, { strftime_now: '2024-07-26' });
  writeFileSync(path('dated-stored.ndjson'), stored.stdout);
  const score = (...flags: string[]) => runCli(['score', '--model', dated, path('dated-stored.ndjson'), ...flags]);
  const kept = await score();
  assert.equal(kept.code, 0, kept.stderr);
  assert.doesNotMatch(kept.stderr, /writes the date/);
  const refused = await score(...day('2024-07-27'));
  assert.match(refused.stderr, /ref\.template_args\.strftime_now: expected "2024-07-27" \(--template-arg\)/);
});
