// SPDX-License-Identifier: Apache-2.0
import assert from 'node:assert/strict';
import { copyFileSync, existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { before, test } from 'node:test';
import { listExamples, readCommands } from '../../scripts/manifest.ts';
import { fixtureImage } from '../pixels/golden.ts';
import { ensureBuilt, runShell, temporaryFolder } from '../support/run-cli.ts';
import { leaveUnfinished } from '../support/unfinished.ts';

before(ensureBuilt);

test('every example runs, one after the other, on a few records', async () => {
  const folder = temporaryFolder('augment-examples');
  for (const name of ['photo.jpg', 'rgba.png']) copyFileSync(fixtureImage(name), join(folder, name));
  const records = [
    { id: 'q1', images: ['photo.jpg'], prompt: 'What is it?' },
    { id: 'q2', images: ['rgba.png', 'photo.jpg'], prompt: 'Compare.' },
  ];
  writeFileSync(join(folder, 'prompts.ndjson'), records.map((record) => `${JSON.stringify(record)}\n`).join(''));
  await runShell('vpref augment -q --op flip --op moco --image-dir views -o augmented.ndjson prompts.ndjson', {
    cwd: folder,
  });
  const augment = readCommands().find(({ id }) => id === 'augment')!;
  for (const { command } of listExamples(augment)) {
    const { code, stdout, stderr } = await runShell(command, { cwd: folder });
    assert.equal(code, 0, `${command}\n${stderr}`);
    const rows = stdout
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line));
    assert.deepEqual(
      rows.map(({ id }) => id),
      ['q1', 'q2'],
      command,
    );
    for (const view of rows.flatMap(({ views }) => views)) {
      for (const path of view.images ?? []) assert.ok(existsSync(join(folder, path)), `${command}: ${path}`);
    }
  }
});

test('--resume gives the same bytes', async () => {
  const folder = temporaryFolder('augment-resume');
  copyFileSync(fixtureImage('photo.jpg'), join(folder, 'photo.jpg'));
  const line = (i: number) => `{"id":"r${i}","images":["photo.jpg"],"prompt":"p"}\n`;
  writeFileSync(join(folder, 'in.ndjson'), Array.from({ length: 12 }, (_, i) => line(i)).join(''));
  const command = 'vpref augment -q --op moco:size=16 --op flip --image-dir views';
  await runShell(`${command} -o whole.ndjson in.ndjson`, { cwd: folder });
  const whole = readFileSync(join(folder, 'whole.ndjson'), 'utf8');
  // Some rows and a torn one.
  leaveUnfinished(join(folder, 'whole.ndjson'), join(folder, 'parts.ndjson'), whole.indexOf('{"id":"r5"') + 12);
  const { code, stderr } = await runShell(`${command} --resume -o parts.ndjson in.ndjson`, { cwd: folder });
  assert.equal(code, 0, stderr);
  assert.equal(readFileSync(join(folder, 'parts.ndjson'), 'utf8'), whole);
});
