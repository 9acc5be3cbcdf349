// SPDX-License-Identifier: Apache-2.0
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { copyFileSync, mkdirSync, rmSync, symlinkSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { refuseSpecialFiles } from '../../src/engine/checkpoint-files.ts';
import { withoutEngine } from '../support/native.ts';
import { root, runCli, temporaryFolder } from '../support/run-cli.ts';

test('files, folders and links to them may lie in a checkpoint, pipes and devices not', () => {
  const folder = temporaryFolder('checkpoint');
  copyFileSync(join(root, 'package.json'), join(folder, 'config.json'));
  mkdirSync(join(folder, 'sub'));
  symlinkSync('config.json', join(folder, 'link.json'));
  symlinkSync('nothing', join(folder, 'dangling'));
  refuseSpecialFiles(folder);
  symlinkSync('/dev/zero', join(folder, 'model.safetensors'));
  const message = /model\.safetensors: expected a file, got a device/;
  assert.throws(() => refuseSpecialFiles(folder), { name: 'EngineError', code: 'checkpoint', message });
  rmSync(join(folder, 'model.safetensors'));
  execFileSync('mkfifo', [join(folder, 'tokenizer.json')]);
  assert.throws(() => refuseSpecialFiles(folder), { message: /tokenizer\.json: expected a file, got a pipe/ });
});

test('every command that opens a model or adapter refuses it at once', async (t) => {
  if (withoutEngine) return t.skip(withoutEngine);
  const folder = temporaryFolder('checkpoint');
  execFileSync('mkfifo', [join(folder, 'config.json')]);
  execFileSync('mkfifo', [join(folder, 'adapter_config.json')]);
  const tiny = join(root, 'fixtures/tiny-gqa');
  const input = '{"id":"a","prompt":"p","chosen":"x","rejected":"y","responses":[{"text":"z"}]}\n';
  for (const args of [
    ['sample', '--model', folder],
    ['sample', '--model', tiny, '--adapter', folder],
    ['score', '--model', folder],
    ['train', '--model', folder, '-o', join(folder, 'run')],
    ['train', '--model', tiny, '--init-adapter', folder, '-o', join(folder, 'run')],
    ['annotate', '--judge', `local:${folder}`],
    ['export', 'merge', '--model', tiny, '--adapter', folder, '-o', join(folder, 'merged')],
  ]) {
    const { code, stdout, stderr } = await runCli(args, { input });
    assert.deepEqual([code, stdout], [1, ''], `${args}: ${stderr}`);
    assert.match(stderr, /config\.json: expected a file, got a pipe/);
  }
});
