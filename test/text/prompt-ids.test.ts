// SPDX-License-Identifier: Apache-2.0
import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { test } from 'node:test';
import type { Message } from '../../src/records/record.ts';
import { builtInTemplate } from '../../src/text/built-in-templates.ts';
import { loadChatTemplate, promptTurns, type Turn } from '../../src/text/chat-template.ts';
import { expandImages, imageIds, promptIds, responseIds } from '../../src/text/prompt-ids.ts';
import { loadTokenizer } from '../../src/text/tokenizer.ts';
import { LLAVA_MARKS } from '../support/fake-engine.ts';

interface Canonical {
  name: string;
  prompt: Message[];
  images: number;
  text: string;
  ids: number[];
  responses: { response: string; ids: number[] }[];
}

const DEMO = 'fixtures/demo/tiny-llava';
const image = { id: 787, token: '<image>' };
const readGolden = async (name: string): Promise<{ tokenizer: string; canonical: Canonical[] }> =>
  JSON.parse(await readFile(`fixtures/golden/text/${name}.json`, 'utf8'));

for (const kind of ['legacy', 'metaspace-first', 'metaspace-split']) {
  test(`${kind}: chat text, prompt ids and response ids equal transformers'`, async () => {
    const golden = await readGolden(kind);
    const tokenizer = await loadTokenizer(golden.tokenizer);
    const template = await loadChatTemplate('auto', golden.tokenizer, tokenizer, { image: LLAVA_MARKS });
    for (const { name, prompt, images, text, ids, responses } of golden.canonical) {
      const made = promptIds(promptTurns(prompt, images, LLAVA_MARKS) as Turn[], images, template, tokenizer, image);
      assert.equal(made.text, text, name);
      assert.deepEqual(made.ids, ids, name);
      for (const row of responses) {
        assert.deepEqual(
          [...responseIds(made, row.response, tokenizer, image)],
          row.ids,
          `${name}: ${JSON.stringify(row.response)}`,
        );
      }
    }
  });
}

test('a string prompt is one user turn, written or not written mark alike', () => {
  const expected = [{ role: 'user', content: [{ type: 'image' }, { type: 'text', text: 'What?' }] }];
  for (const prompt of ['What?', '<image>\nWhat?', 'What?\n<image>', '<image>What?']) {
    const [turn] = promptTurns(prompt, 1, LLAVA_MARKS);
    const parts = [...turn!.content].sort((a, b) => (a.type < b.type ? -1 : 1));
    assert.deepEqual([{ role: turn!.role, content: parts }], expected, prompt);
  }
});

test('parts that the record lists itself are kept as written', () => {
  const content: Message['content'] = [{ type: 'image' }, { type: 'text', text: '\nWhat?' }];
  assert.deepEqual(promptTurns([{ role: 'user', content }], 1, LLAVA_MARKS), [{ role: 'user', content }]);
});

test('an image token becomes the ids of its image, a run of rows each', async () => {
  const tokenizer = await loadTokenizer(DEMO);
  const rows = (runs: number[]) => imageIds('<image>', runs, image, tokenizer);
  const expanded = expandImages([1, 787, 13, 787], image, [rows([64]), rows([3])]);
  assert.equal(expanded.length, 2 + 64 + 3);
  assert.deepEqual([...expanded.slice(0, 2), expanded[65], expanded[66], expanded[68]], [1, 787, 13, 787, 787]);
});

test('text between the runs of an image, and runs that it does not have', async () => {
  const tokenizer = await loadTokenizer(DEMO);
  const ids = imageIds('<image></s><image>', [2, 1], image, tokenizer);
  assert.deepEqual(ids, [787, 787, 2, 787]);
  assert.throws(() => imageIds('<image></s><image>', [2], image, tokenizer), /expected 1 <image>, got 2/);
});

test('the number of marks must be the number of images', async () => {
  const tokenizer = await loadTokenizer(DEMO);
  const template = await loadChatTemplate('auto', DEMO, tokenizer, { image: LLAVA_MARKS });
  const turns = promptTurns('<image> and <image>', 1, LLAVA_MARKS) as Turn[];
  assert.throws(() => promptIds(turns, 1, template, tokenizer, image), /as many <image> as images \(1\), got 2/);
  assert.throws(
    () => promptIds(promptTurns('hi', 1, LLAVA_MARKS) as Turn[], 1, template, tokenizer, undefined),
    /text-only model, got 1/,
  );
  const prompt = promptIds(promptTurns('hi', 0, LLAVA_MARKS) as Turn[], 0, template, tokenizer, image);
  assert.throws(() => responseIds(prompt, 'see <image>', tokenizer, image), /expected text without <image>/);
});

test('a truncated response has no end token', async () => {
  const tokenizer = await loadTokenizer(DEMO);
  const template = await loadChatTemplate('auto', DEMO, tokenizer, { image: LLAVA_MARKS });
  const prompt = promptIds(promptTurns('hi', 0, LLAVA_MARKS) as Turn[], 0, template, tokenizer, image);
  const whole = [...responseIds(prompt, 'Yes.', tokenizer, image)];
  assert.equal(whole.at(-1), 2);
  assert.deepEqual([...responseIds(prompt, 'Yes.', tokenizer, image, { end: false })], whole.slice(0, -1));
});

test('a response never changes the ids of its prompt', async () => {
  const tokenizer = await loadTokenizer(DEMO);
  for (const question of ['ends in a blank ', 'ends in two  ', 'line\n', 'x\u2581', '']) {
    const prompt = promptIds(
      promptTurns(question, 0, LLAVA_MARKS) as Turn[],
      0,
      builtInTemplate('plain', tokenizer.eosToken),
      tokenizer,
      image,
    );
    for (const response of ['There is', ' x', '\n', '']) {
      const ids = responseIds(prompt, response, tokenizer, image);
      assert.equal(tokenizer.decode([...ids]).trim(), response.trim());
      assert.equal(ids.at(-1), 2);
    }
  }
});

test("a video's token in a prompt or a response is refused by name", async () => {
  const dir = 'fixtures/families/qwen2_5_vl/ckpt';
  const tokenizer = await loadTokenizer(dir);
  const marks = { mark: '<|vision_start|><|image_pad|><|vision_end|>', onOwnLine: false };
  const template = await loadChatTemplate('auto', dir, tokenizer, { image: marks });
  const token = '<|video_pad|>';
  const tokens = { id: tokenizer.tokenId('<|image_pad|>')!, token: '<|image_pad|>' };
  const known = { ...tokens, video: { id: tokenizer.tokenId(token)!, token } };
  const turns = (text: string): Turn[] => [{ role: 'user', content: [{ type: 'text', text }] }];
  const refused = /expected text without <\|video_pad\|> \(pictures alone, no video\), got one/;
  assert.throws(() => promptIds(turns(`See <|vision_start|>${token}`), 0, template, tokenizer, known), refused);
  const prompt = promptIds(turns('See.'), 0, template, tokenizer, known);
  assert.throws(() => responseIds(prompt, `A ${token}`, tokenizer, known), refused);
  assert.ok(responseIds(prompt, 'A video', tokenizer, known).length > 1);
});
