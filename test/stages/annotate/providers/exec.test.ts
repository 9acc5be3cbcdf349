// SPDX-License-Identifier: Apache-2.0
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import type { Attempt } from '../../../../src/http/attempt.ts';
import { TransportError } from '../../../../src/http/client.ts';
import { RunError } from '../../../../src/records/error.ts';
import type { Judge } from '../../../../src/stages/annotate/judge.ts';
import { execJudge } from '../../../../src/stages/annotate/providers/exec.ts';
import { judgeRequest } from '../../../support/judge-request.ts';

const signal = new AbortController().signal;

/** Runs `use` with a judge that is this Node script; `reply(q)` and `put(object)` are at hand in it. */
async function withJudge(
  script: string,
  use: (judge: Judge, warnings: string[]) => Promise<void>,
  { timeoutMs = 20_000 } = {},
): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), 'vpref-exec-'));
  const file = join(folder, 'judge.mjs');
  const head = `import { createInterface } from 'node:readline';
    const put = (reply) => process.stdout.write(JSON.stringify(reply) + '\\n');
    const lines = createInterface({ input: process.stdin });\n`;
  writeFileSync(file, head + script);
  const warnings: string[] = [];
  const judge = await execJudge(`${process.execPath} ${file}`, {
    timeoutMs,
    warn: (message) => warnings.push(message),
  });
  try {
    await use(judge, warnings);
  } finally {
    await judge.close();
    rmSync(folder, { recursive: true });
  }
}

test('one child per run; replies in any order are joined by id', async () => {
  const script = `let held; let count = 0;
    for await (const line of lines) {
      const q = JSON.parse(line); count += 1;
      if (!held) { held = q; continue; }
      put({ id: q.id, text: 'second ' + count });
      put({ id: held.id, text: 'first ' + process.pid, model: 'mine', usage: { input_tokens: 3, output_tokens: 4 } });
      held = undefined;
    }`;
  await withJudge(script, async (judge) => {
    const replies = await Promise.all([judge.ask(judgeRequest(), signal), judge.ask(judgeRequest(), signal)]);
    assert.match(replies[0]!.text, /^first \d+$/);
    assert.deepEqual([replies[0]!.model, replies[0]!.usage], ['mine', { input_tokens: 3, output_tokens: 4 }]);
    assert.equal(replies[1]!.text, 'second 2');
    const again = await Promise.all([judge.ask(judgeRequest(), signal), judge.ask(judgeRequest(), signal)]);
    assert.deepEqual([again[0]!.text, again[1]!.text], [replies[0]!.text, 'second 4'], 'the same child');
  });
});

test('the request has the fields of the manual', async () => {
  await withJudge(
    `for await (const line of lines) { const q = JSON.parse(line); put({ id: q.id, reply: q }); }`,
    async (judge) => {
      const { text } = await judge.ask(judgeRequest({ temperature: 0.5, seed: 4 }), signal);
      assert.deepEqual(JSON.parse(text), {
        id: '0',
        guide: 'helpsteer',
        run: 1,
        system: 'You judge.',
        messages: [{ role: 'user', content: 'Grade it.' }],
        images: [],
        answers: [{ label: 'A', text: 'one', response: 0 }],
        schema: {
          type: 'object',
          properties: { comment: { type: 'string' }, grade: { type: 'integer', enum: [0, 1, 2, 3, 4] } },
          required: ['comment', 'grade'],
          additionalProperties: false,
        },
        max_tokens: 100,
        temperature: 0.5,
        seed: 4,
        record: { id: 'r1', prompt: 'What?' },
      });
    },
  );
});

test('a judge can report an outcome', async () => {
  const script = `const outcomes = ['refused', 'rate-limited', 'auth', 'nonsense'];
    for await (const line of lines) { const q = JSON.parse(line); put({ id: q.id, outcome: outcomes.shift(), message: 'why' }); }`;
  await withJudge(script, async (judge) => {
    const got: Attempt[] = [];
    for (let index = 0; index < 4; index += 1) got.push(await judge.ask(judgeRequest(), signal));
    assert.deepEqual(
      got.map((attempt) => [attempt.outcome, attempt.retry ?? false, attempt.fatal ?? false]),
      [
        ['refused', false, false],
        ['rate-limited', true, false],
        ['auth', false, true],
        ['invalid', false, false],
      ],
    );
  });
});

test('an unknown or repeated id gives a warning and is ignored', async () => {
  const script = `for await (const line of lines) { const q = JSON.parse(line); put({ id: 'x', text: 'a' }); put({ id: q.id, text: 'b' }); put({ id: q.id, text: 'c' }); }`;
  await withJudge(script, async (judge, warnings) => {
    assert.equal((await judge.ask(judgeRequest(), signal)).text, 'b');
    assert.equal((await judge.ask(judgeRequest(), signal)).text, 'b');
    assert.match(warnings[0]!, /id "x" answers no open request/);
    assert.match(warnings[1]!, /id "0" answers no open request/);
  });
});

test('the reply to an abandoned request gives no warning', async () => {
  const script = `let first;
    for await (const line of lines) {
      const q = JSON.parse(line);
      if (!first) { first = q; continue; }
      put({ id: first.id, text: 'late' });
      put({ id: q.id, text: 'here' });
    }`;
  await withJudge(script, async (judge, warnings) => {
    const stop = new AbortController();
    const first = judge.ask(judgeRequest(), stop.signal);
    stop.abort();
    await assert.rejects(first, TransportError);
    assert.equal((await judge.ask(judgeRequest(), signal)).text, 'here');
    assert.deepEqual(warnings, []);
  });
});

test('a child that dies is restarted; one that always dies stops the run', async () => {
  await withJudge(
    `let seen = 0; for await (const line of lines) { const q = JSON.parse(line); if (++seen === 2) process.exit(3); put({ id: q.id, text: 'ok' }); }`,
    async (judge) => {
      assert.equal((await judge.ask(judgeRequest(), signal)).text, 'ok');
      await assert.rejects(judge.ask(judgeRequest(), signal), TransportError);
      assert.equal((await judge.ask(judgeRequest(), signal)).text, 'ok');
    },
  );
  await withJudge(`process.exit(3);`, async (judge) => {
    await assert.rejects(judge.ask(judgeRequest(), signal), TransportError);
    await assert.rejects(judge.ask(judgeRequest(), signal), TransportError);
    await assert.rejects(judge.ask(judgeRequest(), signal), RunError);
    await assert.rejects(judge.ask(judgeRequest(), signal), RunError);
  });
});

test('a line that is not a JSON object, or not UTF-8, stops the run with an error that quotes it', async () => {
  for (const script of [
    `console.log('hello');`,
    `process.stdout.write(Buffer.from([0x22, 0xff, 0x22, 10]));`,
    `put([1]);`,
  ]) {
    await withJudge(`for await (const line of lines) { ${script} }`, async (judge) => {
      await assert.rejects(judge.ask(judgeRequest(), signal), /judge stdout: expected one JSON object per line/);
    });
  }
});

test('a hanging judge is ended and restarted', async () => {
  const script = `for await (const line of lines) { const q = JSON.parse(line); if (q.run !== 2) put({ id: q.id, text: 'ok' }); else setInterval(() => {}, 1e9); }`;
  await withJudge(
    script,
    async (judge) => {
      const hanging = judgeRequest();
      hanging.about.run = 2;
      await assert.rejects(judge.ask(hanging, signal), /no reply within/);
      assert.equal((await judge.ask(judgeRequest(), signal)).text, 'ok');
    },
    { timeoutMs: 2000 },
  );
});

test('a missing command stops the run', async () => {
  const judge = await execJudge('/no/such/judge', { timeoutMs: 5000, warn: () => {} });
  await assert.rejects(judge.ask(judgeRequest(), signal), /cannot run the judge \(exit status 127\)/);
  await judge.close();
});

test('an edited script gets new cache entries', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'vpref-exec-'));
  const file = join(folder, 'judge.sh');
  const identity = async (text: string) => {
    writeFileSync(file, text);
    return (await execJudge(`sh '${file}' --strict`, { timeoutMs: 1, warn: () => {} })).identity;
  };
  const first = await identity('echo 1');
  assert.deepEqual(await identity('echo 1'), first);
  assert.notDeepEqual(await identity('echo 2'), first);
  rmSync(folder, { recursive: true });
});

test('each line that the judge writes to stderr is a warning, also an unterminated last one', async () => {
  const script = `process.stderr.write('loading\\n50 %\\r100 %\\n\\nlong ' + 'x'.repeat(20000) + '\\n');
    for await (const line of lines) put({ id: JSON.parse(line).id, text: 'yes' });
    process.stderr.write('\\u001b[2Jbye');`;
  let heard: string[] = [];
  await withJudge(script, async (judge, warnings) => {
    heard = warnings;
    assert.equal((await judge.ask(judgeRequest(), signal)).text, 'yes');
  });
  assert.deepEqual(heard.slice(0, 3), ['judge: loading', 'judge: 50 %', 'judge: 100 %']);
  const long = heard.slice(3, -1).map((line) => line.slice('judge: '.length));
  assert.equal(long.join(''), `long ${'x'.repeat(20000)}`);
  assert.equal(heard.at(-1), 'judge: \u001b[2Jbye');
});
