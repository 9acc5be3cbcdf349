// SPDX-License-Identifier: Apache-2.0
// Covers src/stages/import/records.ts
import assert from 'node:assert/strict';
import { createReadStream, mkdtempSync, readFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import type { RecordError } from '../../../src/records/error.ts';
import { parseExact } from '../../../src/records/exact.ts';
import { imageUri } from '../../../src/records/image-source.ts';
import { formatLine } from '../../../src/records/lines.ts';
import { parseRecord } from '../../../src/records/parse-record.ts';
import { randomStream } from '../../../src/records/random.ts';
import { writeParquet } from '../../../src/stages/export/parquet.ts';
import { importFiles, newImportCounts } from '../../../src/stages/import/index.ts';

const folder = mkdtempSync(join(tmpdir(), 'vpref-parquet-'));

/** Writes the lines as Parquet and imports them again. */
async function throughParquet(
  lines: readonly string[],
  name = 'rows.parquet',
): Promise<{ lines: string[]; failed: string[] }> {
  async function* rows() {
    for (const [index, text] of lines.entries()) {
      const at = { source: 'f', line: index + 1 };
      const record = parseRecord(JSON.parse(text), at);
      yield { ...at, record, input: { text, record } };
    }
  }
  const source = join(folder, name);
  const failed: string[] = [];
  await writeParquet(rows(), source, (error: RecordError) => failed.push(error.message));
  const file = { source, open: () => createReadStream(source), onDisk: async () => source };
  const options = {
    format: 'records',
    cleaning: 'none',
    imageRoots: [],
    selection: { limits: [], limitDialogues: false, seed: 0 },
  } as const;
  const found: string[] = [];
  for await (const { records, error } of importFiles([file], options, newImportCounts())) {
    assert.equal(error, undefined);
    found.push(...records.map((record) => formatLine(record)));
  }
  return { lines: found, failed };
}

/** The line with its fields in order of name. */
function sorted(line: string): string {
  const members = Object.entries(parseExact(line) as object).map(([name, value]) => {
    const text = formatLine({ '': value }).slice(4, -1);
    return `${JSON.stringify(name)}:${text}`;
  });
  return members.sort().join(',');
}

test('what export parquet wrote, import records reads back, equal: random rows', async () => {
  const draws = randomStream(7, 'parquet');
  const pick = <T>(list: readonly T[]): T => list[draws.nextInt(list.length)]!;
  const texts = ['', 'a', '[1,2]', '"quoted"', 'null', 'h\u00e9 \u{1f600}\n', '\ufeffmark', '<image>\nWhat?'];
  const scalar = () =>
    pick([
      '12345678901234567890',
      '1.0',
      '-0',
      '1e5',
      'true',
      'null',
      '0.1',
      ...texts.map((text) => JSON.stringify(text)),
    ]);
  const json = (depth: number): string => {
    if (depth === 0 || draws.nextFloat() < 0.4) return scalar();
    const members = Array.from({ length: draws.nextInt(4) }, () => json(depth - 1));
    if (draws.nextFloat() < 0.5) return `[${members.join(',')}]`;
    const keys = ['a', '__proto__', 'constructor', 'bytes', 'path'];
    return `{${members.map((member, index) => `${JSON.stringify(keys[index])}:${member}`).join(',')}}`;
  };
  const some = (name: string, make: () => string) => (draws.nextFloat() < 0.5 ? [`"${name}":${make()}`] : []);
  const text = () => JSON.stringify(pick(texts));
  const uri = () =>
    JSON.stringify(imageUri(readFileSync(`fixtures/images/${pick(['tiny.png', 'photo.jpg', 'animated.gif'])}`)));
  const list = (make: () => string) => `[${Array.from({ length: draws.nextInt(3) }, make).join(',')}]`;
  const lines = Array.from({ length: 300 }, (_, index) => {
    const members = [
      `"id":"row ${index}"`,
      ...some('images', () => list(uri)),
      `"prompt":${pick([text(), `[{"role":"user","content":${text()}}]`, '[{"role":"user","content":[{"type":"image"},{"type":"text","text":"x"}]},{"role":"assistant","content":null}]'])}`,
      ...some('source', text),
      ...some('meta', () => `{"x":${json(3)}}`),
      ...some('context', () => json(2)),
      ...some('chosen', text),
      ...some('rejected', () => pick([text(), list(text)])),
      ...some('rejected_images', () => pick([list(uri), list(() => list(uri))])),
      ...some('chosen_score', () => pick(['1', '-0.5', '1e-7'])),
      ...some('label', () => pick(['true', 'false'])),
      ...some('views', () => `[{"name":"v","ops":[{"op":"hflip"}],"seed":0,"images":${list(uri)}}]`),
      ...some('responses', () => `[{"text":${text()},"logps":-1.50}]`),
      ...some('own', () => json(2)),
      ...some('__proto__', () => json(1)),
    ];
    return `{${members.join(',')}}`;
  });
  const { lines: found, failed } = await throughParquet(lines);
  assert.deepEqual(failed, []);
  assert.equal(found.length, lines.length);
  for (const [index, line] of lines.entries()) assert.equal(sorted(found[index]!), sorted(line));
});

test('image files travel as their bytes; what is no image fails its row', async () => {
  const path = 'fixtures/images/photo.jpg';
  const row = (id: string, image: string) => JSON.stringify({ id, images: [image], prompt: 'p' });
  const { lines, failed } = await throughParquet(
    [row('a', path), row('b', 'fixtures/images/photo.bmp'), row('c', 'absent.png')],
    'i.parquet',
  );
  assert.deepEqual(
    lines.map((line) => JSON.parse(line)),
    [{ id: 'a', images: [imageUri(readFileSync(path))], prompt: 'p' }],
  );
  assert.match(failed[0]!, /^f:2: images\[0\]: expected a JPEG, .* got fixtures\/images\/photo.bmp: a BMP image$/);
  assert.match(failed[1]!, /^f:3: images\[0\]: expected an image file, got absent.png: no such file$/);
});

test('no rows give a file without rows', async () => {
  assert.deepEqual(await throughParquet([], 'empty.parquet'), { lines: [], failed: [] });
});
