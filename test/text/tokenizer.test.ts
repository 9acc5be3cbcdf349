// SPDX-License-Identifier: Apache-2.0
// Covers src/text/token-bytes.ts
import assert from 'node:assert/strict';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { RunError } from '../../src/records/error.ts';
import { loadTokenizer } from '../../src/text/tokenizer.ts';

interface Golden {
  tokenizer: string;
  encode: { text: string; ids: number[] }[];
  decode: { ids: number[]; text: string }[];
  with_bos: number[];
}

const KINDS = ['legacy', 'metaspace-first', 'metaspace-split', 'byte-level'];
const readGolden = async (name: string): Promise<Golden> =>
  JSON.parse(await readFile(`fixtures/golden/text/${name}.json`, 'utf8'));

for (const kind of KINDS) {
  test(`${kind}: ids of hard strings equal transformers'`, async () => {
    const golden = await readGolden(kind);
    const tokenizer = await loadTokenizer(golden.tokenizer);
    for (const { text, ids } of golden.encode) assert.deepEqual(tokenizer.encode(text), ids, JSON.stringify(text));
  });

  test(`${kind}: decoded text equals transformers'`, async () => {
    const golden = await readGolden(kind);
    const tokenizer = await loadTokenizer(golden.tokenizer);
    for (const { text, ids } of golden.decode) assert.equal(tokenizer.decode(ids), text, JSON.stringify(ids));
  });

  test(`${kind}: the bytes of the ids make the decoded text`, async () => {
    const golden = await readGolden(kind);
    const tokenizer = await loadTokenizer(golden.tokenizer);
    const bytes = tokenizer.tokenBytes();
    assert.equal(bytes.length, tokenizer.size);
    for (const { text, ids } of golden.decode) {
      const joined = Buffer.concat(ids.map((id) => bytes[id]!)).toString('utf8');
      // Llama decoders take the first blank off; invalid UTF-8 is replaced per byte there and per sequence here.
      if (!text.includes('\ufffd'))
        assert.ok(joined === text || joined === ` ${text}`, `${JSON.stringify(ids)}: ${JSON.stringify(joined)}`);
    }
  });
}

test('BOS comes from the post-processor, and byte-level without one has none', async () => {
  const demo = await loadTokenizer('fixtures/demo/tiny-llava');
  const golden = await readGolden('legacy');
  assert.deepEqual([...demo.bosIds, ...demo.encode('USER: hi')], golden.with_bos);
  const byteLevel = await loadTokenizer('fixtures/golden/text/tokenizers/byte-level');
  assert.deepEqual([...byteLevel.bosIds, ...byteLevel.encode('USER: hi')], (await readGolden('byte-level')).with_bos);
});

test('special tokens, sizes and unknown ids', async () => {
  const tokenizer = await loadTokenizer('fixtures/demo/tiny-llava');
  assert.equal(tokenizer.eosId, 2);
  assert.equal(tokenizer.padId, 788);
  assert.equal(tokenizer.tokenId('<image>'), 787);
  assert.equal(tokenizer.size, 789);
  assert.ok(tokenizer.isSpecial(787) && !tokenizer.isSpecial(311));
  assert.equal(tokenizer.decode([]), '');
  assert.equal(tokenizer.decode([2, 788]), '');
  assert.equal(tokenizer.decode([831, 5000]), '', 'padding rows of the embedding have no text');
});

const folders: string[] = [];
after(() => Promise.all(folders.map((folder) => rm(folder, { recursive: true }))));

async function folderWith(files: Record<string, string>): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'vpref-tokenizer-'));
  folders.push(folder);
  for (const [name, text] of Object.entries(files)) await writeFile(join(folder, name), text);
  return folder;
}

const bpe = (extra: object) =>
  JSON.stringify({ added_tokens: [], model: { type: 'BPE', vocab: { a: 0 }, merges: [] }, ...extra });
const BROKEN: [string, Record<string, string>, RegExp][] = [
  ['no file', {}, /tokenizer\.json: expected a Hugging Face tokenizer\.json, got no file/],
  ['only a SentencePiece file', { 'tokenizer.model': 'x' }, /tokenizer\.model alone is not read/],
  ['not JSON', { 'tokenizer.json': '{' }, /tokenizer\.json: /],
  ['not an object', { 'tokenizer.json': '[1]' }, /expected a JSON object, got \[1\]/],
  ['no model', { 'tokenizer.json': '{}' }, /model: expected an object/],
  ['another model', { 'tokenizer.json': '{"model":{"type":"Unigram","vocab":[]}}' }, /expected a BPE model/],
  [
    'hostile id',
    { 'tokenizer.json': bpe({ added_tokens: [{ id: 4294967295, content: 'x' }] }) },
    /added_tokens: expected a list of/,
  ],
  [
    'hostile vocab',
    { 'tokenizer.json': '{"model":{"type":"BPE","vocab":{"a":1e12},"merges":[]}}' },
    /whole ids in vocab/,
  ],
  ['unknown normalizer', { 'tokenizer.json': bpe({ normalizer: { type: 'Nonsense' } }) }, /Nonsense/],
  [
    'broken config',
    { 'tokenizer.json': bpe({}), 'tokenizer_config.json': 'null' },
    /tokenizer_config\.json: expected a JSON object/,
  ],
];
for (const [name, files, message] of BROKEN) {
  test(`broken tokenizer: ${name}`, async () => {
    const folder = await folderWith(files);
    await assert.rejects(loadTokenizer(folder), (error) => {
      assert.ok(error instanceof RunError, String(error));
      assert.equal(error.code, 'tokenizer');
      assert.match(error.message, message);
      return true;
    });
  });
}
