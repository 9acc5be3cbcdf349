// SPDX-License-Identifier: Apache-2.0
// Covers src/text/assistant-turn.ts src/text/content-kind.ts src/text/added-tokens.ts src/text/strftime.ts
import assert from 'node:assert/strict';
import { cp, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { RunError, UsageError } from '../../src/records/error.ts';
import type { Message } from '../../src/records/record.ts';
import { loadChatTemplate, promptTurns, type TemplateOptions, type Turn } from '../../src/text/chat-template.ts';
import { promptIds, responseIds } from '../../src/text/prompt-ids.ts';
import { loadTokenizer, type ModelTokenizer } from '../../src/text/tokenizer.ts';
import { LLAVA_MARKS } from '../support/fake-engine.ts';

interface Golden {
  kinds: {
    kind: string;
    tokens: string[];
    template: string;
    end: string;
    rows: { prompt: Message[]; text: string; ids: number[]; response: string; response_ids: number[] }[];
  }[];
  added_tokens: Partial<Added>[];
  added: { text: string; ids: number[] }[];
  configured: { config: object; rows: { text: string; ids: number[] }[] }[];
}
interface Added {
  id: number;
  content: string;
  special: boolean;
}

const DEMO = 'fixtures/demo/tiny-llava';
const golden: Golden = JSON.parse(await readFile('fixtures/golden/text/turns.json', 'utf8'));
const folder = await mkdtemp(join(tmpdir(), 'vpref-turns-'));
after(() => rm(folder, { recursive: true }));

/** The demo's tokenizer with more tokens. */
async function tokenizerWith(tokens: Partial<Added>[]): Promise<ModelTokenizer> {
  await cp(DEMO, folder, { recursive: true });
  const definition = JSON.parse(await readFile(join(DEMO, 'tokenizer.json'), 'utf8')) as { added_tokens: Added[] };
  const size = 1 + Math.max(...definition.added_tokens.map(({ id }) => id));
  definition.added_tokens.push(
    ...tokens.map((token, at) => ({ id: size + at, content: '', special: false, normalized: false, ...token })),
  );
  await writeFile(join(folder, 'tokenizer.json'), JSON.stringify(definition));
  return loadTokenizer(folder);
}

async function templateOf(source: string, options: Partial<TemplateOptions> = {}, tokens: Partial<Added>[] = []) {
  const tokenizer = await tokenizerWith(tokens);
  await writeFile(join(folder, 'chat_template.jinja'), source);
  return { tokenizer, template: await loadChatTemplate('auto', folder, tokenizer, { ...options }) };
}

const turns = (prompt: string | Message[], images = 0) => promptTurns(prompt, images, LLAVA_MARKS) as Turn[];

for (const { kind, tokens, template: source, end, rows } of golden.kinds) {
  test(`${kind}: text, prompt ids and answer ids up to the template's end token equal transformers'`, async () => {
    const special = tokens.map((content) => ({ content, special: true }));
    const { tokenizer, template } = await templateOf(source, {}, special);
    assert.equal(template.assistantTurn().end, end);
    for (const row of rows) {
      const made = promptIds(turns(row.prompt), 0, template, tokenizer, undefined);
      assert.equal(made.text, row.text);
      assert.deepEqual(made.ids, row.ids);
      assert.deepEqual([...responseIds(made, row.response, tokenizer, undefined)], row.response_ids, row.response);
    }
  });
}

test("added tokens with single_word, lstrip, rstrip and normalized are found as the Rust library's", async () => {
  const tokenizer = await tokenizerWith(golden.added_tokens);
  for (const { text, ids } of golden.added) assert.deepEqual(tokenizer.encode(text), ids, text);
});

test('tokens that tokenizer_config.json names and tokenizer.json lacks are added as transformers adds them', async () => {
  for (const { config, rows } of golden.configured) {
    await tokenizerWith([]);
    const file = join(folder, 'tokenizer_config.json');
    const { added_tokens_decoder: _, ...own } = JSON.parse(await readFile(join(DEMO, 'tokenizer_config.json'), 'utf8'));
    await writeFile(file, JSON.stringify({ ...own, ...config }));
    const tokenizer = await loadTokenizer(folder);
    for (const { text, ids } of rows)
      assert.deepEqual(tokenizer.encode(text), ids, `${JSON.stringify(config)} ${text}`);
  }
});

test('a template that does not show how a response begins or ends is refused only when a response is needed', async () => {
  const other = "{% for m in messages %}{{ m.role ~ ': ' ~ m.content ~ '\\n' }}{% endfor %}Answer:";
  const { tokenizer, template } = await templateOf(other);
  const made = promptIds(turns('Hi'), 0, template, tokenizer, undefined);
  assert.equal(made.text, 'user: Hi\nAnswer:');
  assert.throws(
    () => responseIds(made, 'Yes.', tokenizer, undefined),
    /does not show how an answer begins.*--template/,
  );
  const closing =
    '{% for m in messages %}<{{ m.role }}>{{ m.content }}[over]{% endfor %}{% if add_generation_prompt %}<assistant>{% endif %}';
  const { template: closed } = await templateOf(closing);
  assert.throws(() => closed.assistantTurn(), /how an answer ends: it is followed by "\[over\]"/);
});

test('text other than white space that a template writes before a response is omitted, with a note', async () => {
  const source =
    "{% for m in messages %}<{{ m.role }}>\n{% if m.role == 'assistant' %}<think></think>\n{% endif %}{{ m.content }}{% endfor %}{% if add_generation_prompt %}<assistant>\n{% endif %}";
  const notes: string[] = [];
  const { template } = await templateOf(source, { note: (message) => notes.push(message) });
  assert.equal(template.assistantTurn().joint('x'), '');
  assert.match(notes.join(), /writes "<think><\/think>\\n" before an answer.*left out/);
});

test('contents are parts for a template that loops over them, and texts with marks for one that does not', async () => {
  const image = { image: LLAVA_MARKS };
  const prompt = turns('<image>\nWhat?', 1);
  const concatenates = "{% for m in messages %}{{ m.role + ': ' + m.content }}{% endfor %}";
  assert.equal((await templateOf(concatenates, image)).template.render(prompt), 'user: <image>\nWhat?');
  const prints = '{% for m in messages %}{{ m.content }}{% endfor %}';
  assert.equal((await templateOf(prints, image)).template.render(turns('a <image> b', 1)), 'a <image> b');
  const first = '{% for m in messages %}{{ m.content[0].text }}{% endfor %}';
  assert.equal((await templateOf(first)).template.render(turns('Hi')), 'Hi');
  await assert.rejects(
    templateOf('nothing').then(({ template }) => template.render(turns('Hi'))),
    /expected one that writes the contents of a user turn/,
  );
});

test('a template that uses the date gets one, which is recorded; arguments are passed, and unknown ones are refused', async () => {
  const source = "{{ strftime_now('%d %b %Y') }}{{ ' ' ~ mood if mood is defined }} {{ messages[0].content }}";
  const { template } = await templateOf(source, { date: '2024-07-26', args: { mood: 3 } });
  assert.equal(template.render(turns('Hi')), '26 Jul 2024 3 Hi');
  assert.deepEqual(template.args, { mood: 3, strftime_now: '2024-07-26' });
  const fixed = await templateOf(source, { date: '2024-07-26', args: { strftime_now: '2020-02-09' } });
  assert.equal(fixed.template.render(turns('Hi')), '09 Feb 2020 Hi');
  await assert.rejects(templateOf(source, { args: { colour: 1 } }), UsageError);
  await assert.rejects(templateOf(source, { args: { messages: 1 } }), UsageError);
  await assert.rejects(templateOf(source, { args: { strftime_now: '26 Jul' } }), /expected a date YYYY-MM-DD/);
  await assert.rejects(
    loadChatTemplate('plain', folder, fixed.tokenizer, { args: { mood: 1 } }),
    /template plain has no arguments/,
  );
  const strange = await templateOf("{{ strftime_now('%Q') }}{{ messages[0].content }}");
  assert.throws(() => strange.template.render(turns('Hi')), /%Q is not supported/);
});

test('a pattern of the tokenizer that backtracks without end is stopped', async () => {
  await tokenizerWith([]);
  const file = join(folder, 'tokenizer.json');
  const definition = JSON.parse(await readFile(file, 'utf8')) as Record<string, unknown>;
  definition.normalizer = { type: 'Replace', pattern: { Regex: '^(a+)+$' }, content: 'x' };
  await writeFile(file, JSON.stringify(definition));
  const tokenizer = await loadTokenizer(folder);
  assert.throws(() => tokenizer.encode(`${'a'.repeat(60)}b`), /takes more than 5 s for one text/);
});

test('a configuration that is nested too deeply, or a Git LFS pointer, is refused by name', async () => {
  const deep = `{"a":${'['.repeat(50_000)}${']'.repeat(50_000)}}`;
  await writeFile(join(folder, 'tokenizer_config.json'), deep);
  await assert.rejects(loadTokenizer(folder), /at most 64 levels/);
  await writeFile(join(folder, 'tokenizer.json'), 'version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n');
  await assert.rejects(
    loadTokenizer(folder),
    (error) => error instanceof RunError && /Git LFS pointer/.test(error.message),
  );
});
