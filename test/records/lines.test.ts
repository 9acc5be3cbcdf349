// SPDX-License-Identifier: Apache-2.0
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { formatLine, type Line, readLines, readNdjson } from '../../src/records/lines.ts';

async function collect<T>(items: AsyncIterable<T>): Promise<T[]> {
  const all: T[] = [];
  for await (const item of items) all.push(item);
  return all;
}

type Reader = (chunks: Iterable<Uint8Array>) => Promise<Line[]>;

/** The batches of readLines one after the other. */
async function* linesOf(chunks: AsyncIterable<Uint8Array> | Iterable<Uint8Array>): AsyncGenerator<Line> {
  for await (const batch of readLines(chunks, 'in')) yield* batch;
}

const readers: Record<string, Reader> = {
  readLines: (chunks) => collect(linesOf(chunks)),
  readNdjson: (chunks) => collect(readNdjson(chunks, 'in')),
};

const values = (lines: Line[]) => lines.map(({ line, value }) => [line, value]);
const errors = (lines: Line[]) => lines.flatMap(({ error }) => (error ? [error.message] : []));

for (const [name, read] of Object.entries(readers)) {
  const readAll = (input: string | Uint8Array) => read([Buffer.from(input as string)]);
  describe(name, () => {
    test('gives each line its number, counting blank ones', async () => {
      assert.deepEqual(values(await readAll('{"a":1}\n\n  \t\n{"a":2}\n')), [
        [1, { a: 1 }],
        [4, { a: 2 }],
      ]);
    });

    test('reads CR LF, a byte order mark and a last line without a newline', async () => {
      const lines = await readAll('\ufeff{"a":1}\r\n\r\n\ufeff{"a":"x"}');
      assert.deepEqual(values(lines), [
        [1, { a: 1 }],
        [3, { a: 'x' }],
      ]);
      assert.equal(lines[0]!.text.trim(), '{"a":1}');
    });

    test('null, numbers, arrays and false are values; the lines after them are read', async () => {
      assert.deepEqual(values(await readAll('null\n0\nfalse\n[]\n""\n{"a":1}\n')), [
        [1, null],
        [2, 0],
        [3, false],
        [4, []],
        [5, ''],
        [6, { a: 1 }],
      ]);
    });

    test('bad JSON is an error with its column, and the next line is read', async () => {
      const lines = await readAll('{"a":1}\n{"a":tru}\n{"a":\nfoo\n{"a":4}\n');
      assert.deepEqual(errors(lines), [
        'in:2: record: expected a JSON object, got bad JSON: unexpected "}" at column 9',
        'in:3: record: expected a JSON object, got bad JSON: the line ends at column 5 before the value does',
        'in:4: record: expected a JSON object, got bad JSON: unexpected "o" at column 2',
      ]);
      assert.deepEqual(lines.at(-1)!.value, { a: 4 });
    });

    test('bad UTF-8 is an error with its byte, wherever chunks are cut; good text beside it is kept', async () => {
      const bytes = Buffer.concat([
        Buffer.from('{"a":"\u00e9"}\n{"a":"'),
        Buffer.from([0xc3, 0x28]),
        Buffer.from('"}\n{"a":"\u{1f600}"}\n{"a":"\ufffd"}\n{"a":"'),
        Buffer.from([0xe2, 0x82]),
      ]);
      for (let size = 1; size <= bytes.length; size++) {
        const chunks = Array.from({ length: Math.ceil(bytes.length / size) }, (_, i) =>
          bytes.subarray(i * size, (i + 1) * size),
        );
        const lines = await read(chunks);
        assert.deepEqual(errors(lines), [
          'in:2: record: expected UTF-8, got byte 0xc3 at byte 7 of the line',
          'in:5: record: expected UTF-8, got byte 0xe2 at byte 7 of the line',
        ]);
        assert.deepEqual(
          lines.filter(({ error }) => !error).map(({ value }) => value),
          [{ a: '\u00e9' }, { a: '\u{1f600}' }, { a: '\ufffd' }],
        );
      }
    });

    test('UTF-16 is recognised', async () => {
      const lines = await readAll(Buffer.from('\ufeff{"a":1}\n', 'utf16le'));
      assert.match(errors(lines)[0]!, /^in:1: record: expected UTF-8, got UTF-16/);
    });

    test('a 50 MB line arrives whole, in chunks of 64 KiB', async () => {
      const long = Buffer.from(`{"a":"${'x'.repeat(50 * 2 ** 20)}"}\n{"a":"next"}\n`);
      const chunks = Array.from({ length: Math.ceil(long.length / 65536) }, (_, i) =>
        long.subarray(i * 65536, (i + 1) * 65536),
      );
      const lines = await read(chunks);
      assert.equal((lines[0]!.value as { a: string }).a.length, 50 * 2 ** 20);
      assert.deepEqual(lines[1]!.value, { a: 'next' });
    });

    test('an error of the byte stream is thrown, after the lines before it', async () => {
      const seen: unknown[] = [];
      async function* broken() {
        yield Buffer.from('{"a":1}\n{"a"');
        await new Promise((resolve) => setTimeout(resolve, 5));
        throw new Error('disk gone');
      }
      const source = name === 'readLines' ? linesOf(broken()) : readNdjson(broken(), 'in');
      await assert.rejects(async () => {
        for await (const { value } of source) seen.push(value);
      }, /disk gone/);
      assert.deepEqual(seen, [{ a: 1 }]);
    });

    test('no input gives no lines', async () => {
      assert.deepEqual(await read([]), []);
      assert.deepEqual(await readAll('\n\n'), []);
      assert.deepEqual(await readAll('\ufeff'), []);
    });
  });
}

describe('writing', () => {
  const circle: Record<string, unknown> = { id: 'q1', meta: { parts: [1, {}] } };
  (circle.meta as { parts: unknown[] }).parts[1] = circle.meta;
  const complaint = { name: 'RunError', message: /meta\.parts\[1\] of record "q1" refers back to itself/ };

  test('a value that contains itself is an error with its path', () => {
    assert.throws(() => formatLine(circle), complaint);
  });

  test('the same object twice is not a circle', () => {
    const shared = { x: 1 };
    assert.equal(formatLine({ a: shared, b: shared }), '{"a":{"x":1},"b":{"x":1}}');
  });
});
