// SPDX-License-Identifier: Apache-2.0
import assert from 'node:assert/strict';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { UsageError } from '../../src/records/error.ts';
import type { Message } from '../../src/records/record.ts';
import { BUILT_IN_TEMPLATES, builtInTemplate } from '../../src/text/built-in-templates.ts';
import { loadChatTemplate, promptTurns, type Turn } from '../../src/text/chat-template.ts';
import { loadTokenizer } from '../../src/text/tokenizer.ts';
import { LLAVA_MARKS } from '../support/fake-engine.ts';

const VICUNA =
  "A chat between a curious user and an artificial intelligence assistant. The assistant gives helpful, detailed, and polite answers to the user's questions.";
const DIALOGUE: Message[] = [
  { role: 'user', content: '<image>\nWhat is this?' },
  { role: 'assistant', content: 'A cat.' },
  { role: 'user', content: 'Is it small?' },
];
const render = (name: string, prompt: string | Message[], images: number) =>
  builtInTemplate(name).render(promptTurns(prompt, images, LLAVA_MARKS) as Turn[]);

test('vicuna_v1 and llava_v1 differ in one word', () => {
  const text = `${VICUNA} USER: <image>\nWhat is this? ASSISTANT: A cat.</s>USER: Is it small? ASSISTANT:`;
  assert.equal(render('vicuna_v1', DIALOGUE, 1), text);
  assert.equal(
    render('llava_v1', DIALOGUE, 1),
    text.replace('curious user', 'curious human').replace("user's", "human's"),
  );
});

test('llama-2 wraps the system text into the first instruction', () => {
  const text = render('llama-2', [{ role: 'system', content: 'Be brief.' }, ...DIALOGUE], 1);
  assert.equal(
    text,
    '[INST] <<SYS>>\nBe brief.\n<</SYS>>\n\n<image>\nWhat is this? [/INST] A cat. </s><s>[INST] Is it small? [/INST]',
  );
});

test('plain is the contents alone', () => {
  assert.equal(render('plain', 'Describe it.', 1), '<image>\nDescribe it.');
  assert.equal(render('plain', DIALOGUE, 1), '<image>\nWhat is this?\nA cat.\nIs it small?');
});

test('a system turn replaces the default text, an empty one removes it', () => {
  const turn = (content: string): Message[] => [
    { role: 'system', content },
    { role: 'user', content: 'Hi' },
  ];
  assert.equal(render('vicuna_v1', turn('Be brief.'), 0), 'Be brief. USER: Hi ASSISTANT:');
  assert.equal(render('vicuna_v1', turn(''), 0), 'USER: Hi ASSISTANT:');
});

test('a single image comes first; several keep their positions', () => {
  for (const prompt of ['What?', '<image>\nWhat?', 'What?\n<image>']) {
    assert.equal(render('plain', prompt, 1), '<image>\nWhat?');
  }
  assert.equal(render('plain', 'First <image> then <image>.', 2), 'First <image> then <image>.');
  assert.equal(render('plain', 'Compare.', 2), '<image>\n<image>\nCompare.');
});

test('an unknown name is an error that lists the known ones', () => {
  assert.throws(
    () => builtInTemplate('vicuna'),
    (error) => {
      assert.ok(error instanceof UsageError);
      for (const name of BUILT_IN_TEMPLATES) assert.ok(error.message.includes(name));
      return true;
    },
  );
  assert.throws(() => builtInTemplate('toString'), UsageError);
});

test("the checkpoint's template is found in each of its four places, and a broken one is an error", async () => {
  const tokenizer = await loadTokenizer('fixtures/demo/tiny-llava');
  const turns = promptTurns('Hi', 0, LLAVA_MARKS) as Turn[];
  const source = "{{ bos_token }}{% for m in messages %}{{ m['role'] }}: {{ m['content'] }}|{% endfor %}";
  const folder = await mkdtemp(join(tmpdir(), 'vpref-template-'));
  try {
    await assert.rejects(
      loadChatTemplate('auto', folder, tokenizer, {}),
      /expected a chat template .* --template vicuna_v1/,
    );
    const inTokenizer = { ...tokenizer, config: { chat_template: [{ name: 'default', template: source }] } };
    assert.equal((await loadChatTemplate('auto', folder, inTokenizer, {})).render(turns), '<s>user: Hi|');
    const unnamed = { ...tokenizer, config: { chat_template: [{ name: 'tool_use', template: source }] } };
    await assert.rejects(loadChatTemplate('auto', folder, unnamed, {}), /expected one .* named default, got tool_use/);
    for (const file of ['processor_config.json', 'chat_template.json']) {
      await writeFile(join(folder, file), JSON.stringify({ chat_template: `${file}${source}` }));
      assert.equal((await loadChatTemplate('auto', folder, tokenizer, {})).render(turns), `${file}<s>user: Hi|`);
    }
    await writeFile(join(folder, 'chat_template.jinja'), `own ${source}`);
    assert.equal((await loadChatTemplate('auto', folder, tokenizer, {})).render(turns), 'own <s>user: Hi|');
    await writeFile(join(folder, 'chat_template.jinja'), "{{ raise_exception('no system turn') }}");
    const strict = await loadChatTemplate('auto', folder, tokenizer, {});
    assert.throws(() => strict.render(turns), /no system turn/);
    await writeFile(join(folder, 'chat_template.jinja'), '{% for %}');
    await assert.rejects(loadChatTemplate('auto', folder, tokenizer, {}), /chat template: /);
  } finally {
    await rm(folder, { recursive: true });
  }
});
