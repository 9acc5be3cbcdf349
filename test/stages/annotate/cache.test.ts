// SPDX-License-Identifier: Apache-2.0
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { chmodSync, existsSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { folderCache } from '../../../src/stages/annotate/cache.ts';

const folder = mkdtempSync(join(tmpdir(), 'vpref-cache-'));
after(() => rmSync(folder, { recursive: true }));

const reply = (key: string, text = 'yes') => ({ key, judge: 'j', attempt: { outcome: 'ok' as const, text } });
const key = 'ab'.padEnd(64, '0');

test('what was put comes back, and nothing else', async () => {
  const cache = folderCache(join(folder, 'one'));
  assert.equal(await cache.get(key), undefined);
  cache.put(reply(key));
  assert.deepEqual(await cache.get(key), reply(key));
  assert.equal(await cache.get('ac'.padEnd(64, '0')), undefined);
  assert.deepEqual(readdirSync(join(folder, 'one')), ['ab']);
  assert.equal(readdirSync(join(folder, 'one', 'ab')).length, 1, 'no file is left beside');
});

test('a truncated, empty or unknown file is a miss and is replaced by the next put', async () => {
  const cache = folderCache(join(folder, 'two'));
  cache.put(reply(key));
  const file = join(folder, 'two', 'ab', `${key.slice(2)}.json`);
  assert.ok(existsSync(file));
  for (const text of ['', '{"key": "ab', 'null', '[]', JSON.stringify(reply('other')), JSON.stringify({ key })]) {
    writeFileSync(file, text);
    assert.equal(await cache.get(key), undefined, text);
  }
  cache.put(reply(key));
  assert.deepEqual(await cache.get(key), reply(key));
});

test('processes that write the same entries concurrently never expose a partial one', async () => {
  const shared = join(folder, 'three');
  const source = new URL('../../../src/stages/annotate/cache.ts', import.meta.url).href;
  const script = `import { folderCache } from ${JSON.stringify(source)};
    const cache = folderCache(${JSON.stringify(shared)});
    const text = 'x'.repeat(50_000);
    for (let index = 0; index < 60; index += 1) {
      const key = String(index % 20).padStart(64, '0');
      const seen = await cache.get(key);
      if (seen && seen.attempt.text !== text) process.exit(9);
      cache.put({ key, judge: 'j', attempt: { outcome: 'ok', text } });
    }`;
  const run = () =>
    new Promise<number | null>((resolve) => {
      const args = ['--import', 'tsx', '--input-type=module', '-e', script];
      spawn(process.execPath, args, { stdio: ['ignore', 'inherit', 'inherit'] }).on('exit', resolve);
    });
  assert.deepEqual(await Promise.all([run(), run(), run()]), [0, 0, 0]);
  assert.equal(readdirSync(join(shared, '00')).length, 20);
});

test('an unwritable folder is an error that names --no-cache', (context) => {
  if (process.getuid?.() === 0) {
    const file = join(folder, 'file');
    writeFileSync(file, '');
    assert.throws(() => folderCache(join(file, 'sub')).put(reply(key)), /--no-cache runs without it/);
    return;
  }
  const locked = mkdtempSync(join(tmpdir(), 'vpref-locked-'));
  context.after(() => rmSync(locked, { recursive: true }));
  chmodSync(locked, 0o500);
  assert.throws(() => folderCache(join(locked, 'sub')).put(reply(key)), /--no-cache runs without it/);
});
