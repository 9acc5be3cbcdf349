// SPDX-License-Identifier: Apache-2.0
// Covers src/cli/dataset-info.ts
// Covers src/cli/import-files.ts
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { before, test } from 'node:test';
import { gzipSync } from 'node:zlib';
import { imageUri } from '../../src/records/image-source.ts';
import { ensureBuilt, root, runShell, temporaryFolder } from '../support/run-cli.ts';

before(ensureBuilt);

const columns = join(root, 'fixtures/records/columns');
const folder = temporaryFolder('import');
const rows = (stdout: string) =>
  stdout
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line));
const png = imageUri(readFileSync(join(root, 'fixtures/images/tiny.png')));

test('Parquet and Arrow from files of any name, gzipped, from standard input and from pipes are one and the same', async () => {
  const parquet = readFileSync(join(columns, 'datasets.parquet'));
  writeFileSync(join(folder, 'rows.json'), parquet);
  writeFileSync(join(folder, 'rows.gz'), gzipSync(parquet));
  writeFileSync(join(folder, 'arrow.gz'), gzipSync(readFileSync(join(columns, 'saved/data-00000-of-00002.arrow'))));
  const straight = await runShell('vpref import trl rows.json', { cwd: folder });
  assert.deepEqual(
    rows(straight.stdout).map(({ id, images, chosen }) => [id, images.length, images[0].slice(0, 20), chosen]),
    [
      ['a', 1, 'data:image/png;base6', 'c1'],
      ['b', 1, 'data:image/gif;base6', 'c2'],
      ['c', 2, 'data:image/png;base6', 'c3'],
    ],
  );
  assert.equal(rows(straight.stdout)[0].images[0], png);
  for (const command of [
    'vpref import trl rows.gz',
    'vpref import trl < rows.json',
    'cat rows.json | vpref import trl',
    'cat rows.gz | vpref import trl -',
    'vpref import trl <(cat rows.json)',
    'cat rows.json | vpref import trl --limit 3',
    `vpref import trl --check-images ${columns}/saved`,
    `vpref import trl ${columns}/splits/train ${columns}/splits/test`,
    `cat arrow.gz | vpref import trl - ${columns}/saved/data-00001-of-00002.arrow`,
  ]) {
    const { code, stdout, stderr } = await runShell(command, { cwd: folder });
    assert.deepEqual([code, stdout], [0, straight.stdout], `${command}\n${stderr}`);
  }
});

test('folders and files of other kinds are refused by name', async () => {
  const refusals: [string, RegExp][] = [
    [`${columns}/splits`, /expected one split of a saved data set, got all of them: name .*train or .*test/],
    [columns, /got a directory without it/],
    ['table.json', /table\.json: expected JSON, JSON lines, Parquet or Arrow, got a CSV or TSV table/],
  ];
  writeFileSync(join(folder, 'table.json'), 'id,prompt\n1,q\n');
  for (const [path, message] of refusals) {
    const { code, stderr } = await runShell(`vpref import trl ${path}`, { cwd: folder });
    assert.notEqual(code, 0);
    assert.match(stderr, message);
  }
});

test('--check-images passes what augment can open, and nothing else; messages stay short', async () => {
  const fifo = join(folder, 'pipe.png');
  execFileSync('mkfifo', [fifo]);
  const jpeg = readFileSync(join(root, 'fixtures/images/photo.jpg'));
  const images = [
    png,
    jpeg.toString('base64'),
    `file://${join(root, 'fixtures/images/animated.gif')}`,
    `data:image/jpg;base64,${jpeg.toString('base64')}`,
    `data:image/png;base64,${'A'.repeat(100_000)}`,
    join(root, 'fixtures/images/photo.bmp'),
    join(root, 'fixtures/images/truncated.jpg'),
    imageUri(jpeg.subarray(0, 300)),
    fifo,
  ];
  const lines = images.map((image, index) =>
    JSON.stringify({ id: `r${index}`, image, prompt: 'q', chosen: 'c', rejected: 'r' }),
  );
  writeFileSync(join(folder, 'in.jsonl'), lines.join('\n'));
  const checked = await runShell('vpref import trl --check-images --on-error skip -o checked.ndjson in.jsonl', {
    cwd: folder,
  });
  assert.equal(checked.code, 3);
  assert.ok(checked.stderr.length < 3000, checked.stderr);
  assert.equal(checked.stderr.match(/images?(?:\[0\])?: expected/g)?.length, 5);
  const kept = rows(readFileSync(join(folder, 'checked.ndjson'), 'utf8'));
  assert.deepEqual(
    kept.map(({ id }) => id),
    ['r0', 'r1', 'r2', 'r3'],
  );
  const augmented = await runShell('vpref augment --op hflip --image-dir views checked.ndjson', { cwd: folder });
  assert.equal(augmented.code, 0, augmented.stderr);
});

test('an export of our rows as Parquet comes back through import records', async () => {
  const row = { id: 'a', images: ['a.png'], prompt: 'q', chosen: 'c', rejected: ['r'], own: 1 };
  writeFileSync(join(folder, 'a.png'), readFileSync(join(root, 'fixtures/images/tiny.png')));
  writeFileSync(join(folder, 'own.ndjson'), `${JSON.stringify(row)}\n`);
  const made = await runShell('vpref export parquet own.ndjson -o own.parquet && vpref import records own.parquet', {
    cwd: folder,
  });
  assert.equal(made.code, 0, made.stderr);
  assert.deepEqual(rows(made.stdout), [{ ...row, images: [png] }]);
  const again = await runShell('cat own.ndjson own.ndjson | vpref import records', { cwd: folder });
  assert.match(again.stderr, /stdin:2: id: expected an id not seen before, got "a"/);
  const toStdout = await runShell('vpref export parquet own.ndjson', { cwd: folder });
  assert.match(toStdout.stderr, /-o: expected a file for the Parquet rows, got nothing/);
});

test("dataset_info.json#NAME reads the entry's file, as the entry says", async () => {
  const columns = { messages: 'talk', chosen: 'good', rejected: 'bad' };
  const entry = { file_name: 'talks.json', formatting: 'sharegpt', ranking: true, columns };
  const talk = [{ from: 'human', value: 'Which bird?' }];
  const row = { talk, good: { from: 'gpt', value: 'A heron.' }, bad: { from: 'gpt', value: 'A duck.' } };
  writeFileSync(join(folder, 'dataset_info.json'), JSON.stringify({ mine: entry }));
  writeFileSync(join(folder, 'talks.json'), JSON.stringify([row]));
  const read = await runShell('vpref import llama-factory dataset_info.json#mine', { cwd: folder });
  const [{ prompt, chosen, rejected }] = rows(read.stdout);
  assert.deepEqual([prompt, chosen, rejected], ['Which bird?', 'A heron.', 'A duck.'], read.stderr);
  const other = await runShell('vpref import llama-factory dataset_info.json#other', { cwd: folder });
  assert.equal(other.code, 2);
  assert.match(other.stderr, /dataset_info\.json: expected an entry "other"/);
});
