// SPDX-License-Identifier: Apache-2.0
// Covers src/commands/import.ts src/commands/pair.ts src/commands/export.ts src/cli/import-files.ts
// Covers src/cli/import-options.ts src/cli/pair-options.ts src/cli/export-options.ts
import assert from 'node:assert/strict';
import { copyFileSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { before, test } from 'node:test';
import { listExamples, readCommands } from '../../scripts/manifest.ts';
import { ensureBuilt, root, runShell, temporaryFolder } from '../support/run-cli.ts';
import { leaveUnfinished } from '../support/unfinished.ts';

before(ensureBuilt);

/** A folder with the files that the manual's examples name. */
function exampleFolder(name: string): string {
  const folder = temporaryFolder(name);
  for (const file of ['sampled', 'annotated', 'pairs'])
    copyFileSync(join(root, `fixtures/records/${file}.ndjson`), join(folder, `${file}.ndjson`));
  copyFileSync(join(root, 'fixtures/records/import/llava.json'), join(folder, 'mix665k.json'));
  mkdirSync(join(folder, 'vg'));
  mkdirSync(join(folder, 'data'));
  copyFileSync(join(root, 'fixtures/images/photo.jpg'), join(folder, 'vg/1.jpg'));
  const lrv = [1, 2].map((image_id) => ({ image_id, question: 'q', answer: 'a', task: 'existence' }));
  writeFileSync(join(folder, 'lrv.json'), JSON.stringify(lrv));
  writeFileSync(
    join(folder, 'answers.ndjson'),
    '{"id":"a","images":["data/coco/1.jpg"],"prompt":"q","response":"r"}\n',
  );
  return folder;
}

for (const verb of ['import', 'pair', 'export'])
  test(`${verb}: every example of the manual runs and writes rows`, async () => {
    const cwd = exampleFolder(`${verb}-examples`);
    const examples = listExamples(readCommands().find(({ id }) => id === verb)!);
    assert.ok(examples.length > 1);
    // `export merge` needs the engine: test/commands/train.test.ts runs it.
    for (const { command } of examples.filter(({ command }) => !command.includes('--model'))) {
      const { code, stdout, stderr } = await runShell(command, { cwd });
      // One image of two is there.
      assert.equal(code, command.includes('--check-images') ? 3 : 0, `${command}\n${stderr}`);
      const file = / -o (\S+)/.exec(command)?.[1];
      assert.ok((file === undefined ? stdout : readFileSync(join(cwd, file), 'utf8')).length > 10, command);
    }
  });

test('a resumed run gives the bytes of an uninterrupted one: import and pair', async () => {
  const cwd = temporaryFolder('data-resume');
  const items = Array.from({ length: 60 }, (_, index) => ({
    id: `d${index % 40}`,
    image: `vg/${index}.jpg`,
    conversations: ['q0', 'q1', 'q2'].flatMap((value) => [
      { from: 'human', value },
      { from: 'gpt', value: `a ${value}` },
    ]),
  }));
  writeFileSync(join(cwd, 'items.json'), JSON.stringify(items, null, 1));
  const records = Array.from({ length: 60 }, (_, index) => ({
    id: `r${index}`,
    prompt: 'q',
    responses: [
      { text: 'c' },
      { text: index % 3 ? 'x' : 'c', view: 'flip' },
      { text: index % 4 ? 'y' : 'c', view: 'crop' },
    ],
  }));
  writeFileSync(join(cwd, 'sampled.ndjson'), records.map((record) => `${JSON.stringify(record)}\n`).join(''));
  for (const command of [
    'vpref import llava -q items.json --turns 2 --limit 70',
    'vpref pair -q --rule seva sampled.ndjson',
  ]) {
    await runShell(`${command} -o whole`, { cwd });
    const whole = readFileSync(join(cwd, 'whole'), 'utf8');
    for (const bytes of [1, 700, 2500, Math.floor(whole.length / 2), whole.length - 1]) {
      // Rows of a finished file have no journal: they are found by their groups.
      leaveUnfinished(join(cwd, 'whole'), join(cwd, 'part'), bytes);
      const { code, stderr } = await runShell(`${command} --resume -o part`, { cwd });
      assert.equal(code, 0, `${command}, ${bytes} bytes: ${stderr}`);
      const part = readFileSync(join(cwd, 'part'), 'utf8');
      if (!isCutInGroup(whole, bytes)) assert.equal(part, whole, `${command}, ${bytes} bytes`);
    }
  }
});

/** The cut is between rows of one record: only the journal, which a real run has, knows that it is unfinished. */
function isCutInGroup(whole: string, bytes: number): boolean {
  const rows = whole.slice(0, bytes).split('\n');
  const group = (line: string | undefined) => /"id":"([^"#]+)#/.exec(line ?? '')?.[1];
  const next = whole.slice(rows.slice(0, -1).join('\n').length + (rows.length > 1 ? 1 : 0)).split('\n')[0];
  return rows.length > 1 && group(rows.at(-2)) !== undefined && group(rows.at(-2)) === group(next);
}

test('the shards of each data stage are together the whole', async () => {
  const cwd = exampleFolder('data-shards');
  const commands = [
    'vpref import llava -q mix665k.json --turns all --limit 5',
    'vpref pair -q --rule steerlm annotated.ndjson',
    'vpref pair -q --rule score --margin 1 annotated.ndjson',
    'vpref export trl pairs.ndjson',
  ];
  for (const command of commands) {
    const lines = async (flags: string) =>
      (await runShell(`${command} ${flags}`, { cwd })).stdout.split('\n').filter(Boolean);
    const whole = await lines('');
    assert.ok(whole.length > 3, command);
    const parts = [await lines('--shard 0/3'), await lines('--shard 1/3'), await lines('--shard 2/3')];
    assert.ok(
      parts.every((part) => part.length > 0),
      command,
    );
    assert.deepEqual(parts.flat().sort(), [...whole].sort(), command);
  }
});
