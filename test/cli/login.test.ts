// SPDX-License-Identifier: Apache-2.0
// A login in a server's URL: neither in files that a run leaves nor in what it says.
import assert from 'node:assert/strict';
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { runCli } from '../support/run-cli.ts';

const LOGIN = 'me:word-for-nobody';
// Nobody listens on port 9.
const URL = `http://${LOGIN}@127.0.0.1:9/v1`;
const row = '{"id":"q","prompt":"Hi","responses":[{"text":"A"}]}\n';

test('the settings beside an output and in a summary hold the URL without its login', async (context) => {
  const cwd = mkdtempSync(join(tmpdir(), 'vpref-login-'));
  context.after(() => rmSync(cwd, { recursive: true }));
  const once = ['--attempts', '1', '--timeout', '2', '--on-error', 'keep', '--summary', 's.json', '-o', 'out.ndjson'];
  const runs = [
    ['annotate', '--judge', 'openai:m', '--no-cache', '--base-url', URL, ...once],
    ['sample', '--model', 'm', '--endpoint', URL, ...once],
    ['sample', '--model', 'm', '--endpoint', URL.replace('http', 'ftp')],
  ];
  for (const args of runs) {
    const { stdout, stderr, code } = await runCli(args, { cwd, input: row });
    assert.notEqual(code, 0);
    const files = readdirSync(cwd).map((name) => readFileSync(join(cwd, name), 'utf8'));
    assert.ok(![stdout, stderr, ...files].some((text) => text.includes('word-for-nobody')), args.join(' '));
    if (args[0] === 'sample' && args.includes('s.json')) assert.match(files.join(), /"http:\/\/127\.0\.0\.1:9\/v1"/);
    for (const name of readdirSync(cwd)) rmSync(join(cwd, name));
  }
});
