// SPDX-License-Identifier: Apache-2.0
// The demo model through the real binary: every answer and score that its makers' PyTorch scripts gave (scripts/demo/reference.py).
// Covers src/cli/model-flags.ts src/cli/preset.ts
// Covers src/cli/sample-options.ts
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { test } from 'node:test';
import { withoutEngine } from '../support/native.ts';
import { collect, root, runCli, runShell, spawnCli, temporaryFolder } from '../support/run-cli.ts';

const skip = withoutEngine;
const folder = join(root, 'fixtures/demo/data/test');
const model = join(root, 'fixtures/demo/tiny-llava');
const readRows = <T>(name: string): T[] =>
  readFileSync(join(folder, name), 'utf8')
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as T);

interface Question {
  question_id: number;
  image: string;
  text: string;
  kind?: string;
  answer?: string;
}
const FILES = ['pope_random.json', 'pope_popular.json', 'pope_adversarial.json', 'captions.jsonl', 'vqa.jsonl'];
const reference = JSON.parse(readFileSync(join(folder, 'reference_scores.json'), 'utf8'));

test('all 1,702 greedy answers are the reference answers', { skip }, async () => {
  const expected = new Map(
    readRows<{ file: string; question_id: number; answer: string }>('reference_answers.jsonl').map((row) => [
      `${row.file}/${row.question_id}`,
      row.answer,
    ]),
  );
  const questions = FILES.flatMap((file) =>
    readRows<Question>(file).map((row) => ({ ...row, id: `${file.replace(/\.jsonl?$/, '')}/${row.question_id}` })),
  );
  const input = questions
    .map(({ id, image, text }) => `${JSON.stringify({ id, images: [join(folder, 'images', image)], prompt: text })}\n`)
    .join('');
  const { stdout, stderr, code } = await runCli(['sample', '--model', model, '--max-new-tokens', '60', '-q'], {
    input,
  });
  assert.deepEqual({ code, stderr }, { code: 0, stderr: '' });
  const answers = new Map<string, string>();
  for (const line of stdout.trim().split('\n')) {
    const { id, responses } = JSON.parse(line);
    answers.set(id, responses[0].text.trim());
  }
  assert.equal(answers.size, expected.size);
  for (const [id, answer] of expected) assert.equal(answers.get(id), answer, id);
  for (const kind of ['count', 'colour', 'word', 'relation']) {
    const rows = questions.filter((row) => row.kind === kind);
    const right = rows.filter((row) => answers.get(row.id) === row.answer).length;
    assert.equal(right / rows.length, reference.scores[kind], kind);
  }
});

test('import, sample and eval in one pipe give the reference POPE scores', { skip }, async () => {
  const files = FILES.slice(0, 3).map((file) => join(folder, file));
  const labels = files.map((file) => `--labels ${file}`).join(' ');
  const line = `vpref import pope ${files.join(' ')} --image-root ${folder}/images -q | vpref sample --model ${model} --max-new-tokens 60 -q | vpref eval pope - ${labels}`;
  const { stdout, code } = await runShell(line, { cwd: root });
  assert.equal(code, 0);
  const rows = stdout
    .trim()
    .split('\n')
    .map((row) => JSON.parse(row));
  for (const split of ['random', 'popular', 'adversarial']) {
    const row = rows.find((one) => one.split === split);
    const { acc, precision, recall, f1, yes_ratio } = reference.scores[`pope_${split}`];
    assert.deepEqual(
      [row.accuracy, row.precision, row.recall, row.f1, row.yes_ratio],
      [acc, precision, recall, f1, yes_ratio],
      split,
    );
  }
});

test('shards together are the whole, and a stopped run resumes to the same result', { skip }, async () => {
  const input = readRows<Question>('captions.jsonl')
    .slice(0, 60)
    .map(
      ({ image, text }, index) =>
        `${JSON.stringify({ id: `c${index}`, images: [join(folder, 'images', image)], prompt: text })}\n`,
    )
    .join('');
  const flags = ['sample', '--model', model, '--temperature', '0.8', '--max-new-tokens', '40', '-q'];
  const whole = await runCli(flags, { input });
  const shards = await Promise.all([0, 1].map((index) => runCli([...flags, '--shard', `${index}/2`], { input })));
  const lines = shards.map(({ stdout }) => stdout.trim().split('\n'));
  const merged = lines[0]!.flatMap((line, index) => [line, lines[1]![index]!]);
  assert.deepEqual(merged, whole.stdout.trim().split('\n'));
  const out = join(temporaryFolder('sample'), 'out.ndjson');
  const stopped = spawnCli([...flags, '-o', out], {});
  // Input that does not end: the run has begun and waits when the signal comes.
  stopped.stdin!.write(input.split('\n').slice(0, 20).join('\n'));
  stopped.stdin!.write('\n');
  const begun = (async () => {
    while ((readIfThere(`${out}.partial`) ?? '').split('\n').length < 5)
      await new Promise((resolve) => setTimeout(resolve, 20));
    stopped.kill('SIGTERM');
  })();
  const [{ code }] = await Promise.all([collect(stopped), begun]);
  assert.equal(code, 75);
  const resumed = await runCli([...flags, '-o', out, '--resume'], { input });
  assert.equal(resumed.code, 0, resumed.stderr);
  assert.equal(readFileSync(out, 'utf8'), whole.stdout);
  // Killed: the lock of a run that is gone is in nobody's way.
  const killed = `${out}.killed`;
  for (let kill = 1; kill <= 4; kill += 1) {
    const child = spawnCli([...flags, '-o', killed, '--resume'], {});
    child.stdin!.on('error', () => {});
    child.stdin!.write(input);
    const ended = collect(child);
    const rows = kill * 3;
    while ((readIfThere(`${killed}.partial`) ?? '').split('\n').length < rows && child.exitCode === null)
      await new Promise((resolve) => setTimeout(resolve, 5));
    child.kill('SIGKILL');
    assert.equal((await ended).code, 128 + 9);
  }
  const last = await runCli([...flags, '-o', killed, '--resume'], { input });
  assert.equal(last.code, 0, last.stderr);
  assert.equal(readFileSync(killed, 'utf8'), whole.stdout);
});

test('a preset gives way to flags, and to the record', { skip }, async () => {
  const input = `${JSON.stringify({ id: 'a', prompt: 'Hi' })}\n`;
  const run = async (...flags: string[]) => {
    const { stdout } = await runCli(['sample', '--model', model, '--max-new-tokens', '4', '-q', ...flags], { input });
    return JSON.parse(stdout).sampling;
  };
  const preset = await run('--preset', 'li2024-dpo');
  assert.deepEqual([preset.template, preset.temperature, preset.max_new_tokens], ['vicuna_v1', 1.2, 4]);
  const mixed = await run('--preset', 'li2024-dpo', '--temperature', '0', '--template', 'plain');
  assert.deepEqual([mixed.template, mixed.temperature], ['plain', 0]);
  assert.equal((await run('--preset', 'seva-7b', '--faithful')).template, 'llava_v1');
});

function readIfThere(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return undefined;
  }
}

test('--endpoint asks a server, with images as data URIs and the key from the environment', async () => {
  const asked: {
    path: string;
    key: string | undefined;
    body: { model: string; messages: { content: unknown }[]; n: number };
  }[] = [];
  const server = createServer((request, response) => {
    let text = '';
    request.on('data', (chunk) => {
      text += chunk;
    });
    request.on('end', () => {
      const body = JSON.parse(text);
      asked.push({ path: request.url!, key: request.headers.authorization, body });
      const choices = Array.from({ length: body.n }, (_, index) => ({
        index,
        message: { role: 'assistant', content: `answer ${index}` },
        finish_reason: 'stop',
      }));
      response.setHeader('content-type', 'application/json');
      response.end(
        JSON.stringify({ id: 'x', model: body.model, choices, usage: { prompt_tokens: 1, completion_tokens: 1 } }),
      );
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  try {
    const record = { id: 'a', images: [join(folder, 'images', 'scene_0000.jpg')], prompt: 'What is it?' };
    const flags = [
      '--endpoint',
      `http://127.0.0.1:${port}/v1`,
      '--model',
      'served',
      '-n',
      '2',
      '--temperature',
      '1',
      '-q',
    ];
    const { stdout, code, stderr } = await runCli(['sample', ...flags, '--key-env', 'TEST_KEY'], {
      input: `${JSON.stringify(record)}\n`,
      env: { TEST_KEY: 'secret-key' },
    });
    assert.deepEqual({ code, stderr }, { code: 0, stderr: '' });
    const { responses, sampling } = JSON.parse(stdout);
    assert.deepEqual(
      responses.map(({ text }: { text: string }) => text),
      ['answer 0', 'answer 1'],
    );
    assert.equal(sampling.model, 'served');
    assert.equal(asked[0]!.path, '/v1/chat/completions');
    assert.equal(asked[0]!.key, 'Bearer secret-key');
    assert.match(JSON.stringify(asked[0]!.body.messages), /data:image\/jpeg;base64,/);
  } finally {
    server.close();
  }
});

test('a program that waits for each answer before it asks the next gets it', { skip }, async () => {
  const child = spawnCli(['sample', '--model', model, '--max-new-tokens', '2', '-q']);
  const result = collect(child);
  for (const id of ['a', 'b', 'c']) {
    const answer = once(child.stdout!, 'data');
    child.stdin!.write(`${JSON.stringify({ id, prompt: 'What?' })}\n`);
    assert.equal(JSON.parse(String((await answer)[0])).id, id);
  }
  child.stdin!.end();
  assert.equal((await result).code, 0);
});

test('--endpoint that is no URL is a usage error', async () => {
  for (const url of ['localhost:8000', 'not a url', 'file:///tmp']) {
    const { code, stderr } = await runCli(['sample', '--endpoint', url, '--model', 'x']);
    assert.equal(code, 2);
    assert.match(stderr, /--endpoint: expected a URL such as/);
  }
});

test('--verbose prints the model once, and the memory plan when the work is done', { skip }, async () => {
  const tiny = join(root, 'fixtures/tiny-text');
  const input = '{"id":"a","prompt":"the red one"}\n';
  const { stderr, code } = await runCli(['sample', '--model', tiny, '--max-new-tokens', '4', '--verbose'], {
    input,
  });
  const names = stderr.split('\n').map((line) => line.replace(/^vpref sample: |[\d.]+ |:.*/g, ''));
  assert.deepEqual(
    { code, names: names.slice(1) },
    {
      code: 0,
      names: ['weights read in place', 'weights converted', 'KV cache', 'step arena', 'image rows', 'prompt rows', ''],
    },
  );
  assert.match(stderr, /^vpref sample: 0\.1 M parameters stored as f32, f32 on cpu, \d+ threads\n/);
});
