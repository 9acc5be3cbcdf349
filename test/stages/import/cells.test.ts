// SPDX-License-Identifier: Apache-2.0
// Covers src/stages/import/items.ts src/stages/import/parquet-items.ts src/stages/import/arrow-items.ts
import assert from 'node:assert/strict';
import { createReadStream, readFileSync } from 'node:fs';
import { test } from 'node:test';
import { formatLine } from '../../../src/records/lines.ts';
import { CellError, Digits, decimalCell, setCell, timestampCell } from '../../../src/stages/import/cells.ts';
import { readItems, readValue } from '../../../src/stages/import/items.ts';
import type { JsonItem } from '../../../src/stages/import/json-items.ts';

const FOLDER = 'fixtures/records/columns';
const expected = readFileSync(`${FOLDER}/expected.ndjson`, 'utf8');

async function items(name: string): Promise<JsonItem[]> {
  const source = `${FOLDER}/${name}`;
  const found: JsonItem[] = [];
  for await (const item of readItems({ source, open: () => createReadStream(source, { highWaterMark: 700 }) }))
    found.push(item);
  return found;
}

async function itemsOf(bytes: string | Uint8Array): Promise<unknown[]> {
  const found: unknown[] = [];
  const file = {
    source: 'f',
    open: async function* () {
      yield Buffer.from(bytes as string);
    },
  };
  for await (const item of readItems(file)) found.push(item.error?.message ?? item.value);
  return found;
}

const lines = (found: JsonItem[]) => found.map(({ value }) => `${formatLine(value as object)}\n`).join('');

for (const codec of ['none', 'snappy', 'gzip', 'brotli', 'lz4', 'zstd'])
  test(`Parquet of every column kind, ${codec}: values to the digit, bytes to the byte`, async () => {
    const found = await items(`${codec}.parquet`);
    assert.equal(lines(found), expected);
    assert.deepEqual(
      found.map(({ line }) => line),
      [1, 2, 3],
    );
  });

for (const name of ['stream', 'file', 'zstd'])
  test(`Arrow of every column kind, ${name}`, async () => {
    assert.equal(lines(await items(`${name}.arrow`)), expected);
  });

test('large and view types of Arrow', async () => {
  const [row] = (await items('large.arrow')).map(({ value }) => value as Record<string, unknown>);
  const png = readFileSync('fixtures/images/tiny.png').toString('base64');
  assert.deepEqual(row, { id: 'a', prompt: 'q', image: `data:image/png;base64,${png}`, list: [1, 2] });
});

for (const name of ['stream.arrow', 'file.arrow', 'none.parquet'])
  test(`text that is not UTF-8 names row and column, ${name}`, async () => {
    const bytes = readFileSync(`${FOLDER}/${name}`);
    for (let at = bytes.indexOf('What is it'); at !== -1; at = bytes.indexOf('What is it', at)) bytes[at] = 0xff;
    const [bad, ...others] = (await itemsOf(bytes)) as [string, ...unknown[]];
    assert.equal(bad, 'f:1: prompt: expected UTF-8, got bytes that are not');
    assert.ok(others.length === 2 && others.every((value) => typeof value === 'object'), 'the other rows are read');
  });

test('what is not read is refused by name', async () => {
  await assert.rejects(items('lz4.arrow'), /no reader for compression "LZ4_FRAME"/);
  await assert.rejects(items('duration.arrow'), /column "took": expected text, .*got Duration/);
  assert.equal(
    (await items('nan.parquet'))[0]!.error!.message,
    `${FOLDER}/nan.parquet:1: value: expected a number that JSON has, got NaN`,
  );
  const whole = readFileSync(`${FOLDER}/stream.arrow`);
  await assert.rejects(itemsOf(whole.subarray(0, whole.length - 200)), /cannot be read as Arrow: it is cut short/);
  const cut = readFileSync(`${FOLDER}/zstd.parquet`).subarray(0, 4000);
  await assert.rejects(itemsOf(cut), /cannot be read as Parquet/);
});

test('a file is known by its first bytes', async () => {
  const refusals: [string | Buffer, RegExp][] = [
    ['id,prompt\n1,a\n', /expected JSON, JSON lines, Parquet or Arrow, got a CSV or TSV table/],
    ['id\tprompt\n1\ta\n', /a CSV or TSV table/],
    ['"id","prompt"\n', /a CSV or TSV table/],
    [Buffer.from('504b030414000000', 'hex'), /a ZIP archive/],
    [Buffer.from('28b52ffd00', 'hex'), /a Zstandard file/],
    ['version https://git-lfs.github.com/spec/v1\noid sha256:1\n', /a Git LFS pointer/],
    ['<!DOCTYPE html><html>', /an HTML page/],
    [Buffer.from('\ufeff{"a":1}', 'utf16le'), /UTF-16 text/],
  ];
  for (const [bytes, message] of refusals) await assert.rejects(itemsOf(bytes), message);
  assert.deepEqual(await itemsOf('\ufeff [1, {"a": "x,y"}]'), [1, { a: 'x,y' }]);
  assert.deepEqual(await itemsOf('{"a":1}\n{"a":2}\n'), [{ a: 1 }, { a: 2 }]);
  const parquet = { source: 'f', open: () => createReadStream(`${FOLDER}/none.parquet`) };
  await assert.rejects(readValue(parquet), /f: expected one JSON value, got a Parquet file/);
});

test('decimals, times and numbers that JSON has not', () => {
  const cases: [bigint, number, string][] = [
    [1250n, 2, '12.50'],
    [-1n, 2, '-0.01'],
    [7n, 0, '7'],
    [7n, -2, '700'],
    [-(10n ** 20n), 3, '-100000000000000000.000'],
  ];
  for (const [unscaled, scale, text] of cases) assert.equal(decimalCell(unscaled, scale).text, text);
  assert.equal(timestampCell(-1n, 'nanoseconds', true), '1969-12-31T23:59:59.999999999Z');
  assert.equal(timestampCell(0n, 'seconds', false), '1970-01-01T00:00:00');
  const row: Record<string, unknown> = {};
  setCell(row, '__proto__', new Digits('1.0'));
  assert.equal(formatLine(row), '{"__proto__":1.0}');
  assert.throws(() => setCell(row, 'a', Number.POSITIVE_INFINITY), CellError);
});
