// SPDX-License-Identifier: Apache-2.0
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { UsageError } from '../../../src/records/error.ts';
import type { VprefRecord } from '../../../src/records/record.ts';
import { guideNames, loadGuide, parseGuide } from '../../../src/stages/annotate/guide.ts';
import { planRun } from '../../../src/stages/annotate/plan.ts';
import { readyGuide } from '../../../src/stages/annotate/question.ts';

test('every bundled guide loads, has its own name and renders', async () => {
  const record: VprefRecord = {
    id: 'q1',
    images: ['a.png'],
    prompt: '<image>\nWhat is it?',
    reference: 'REFERENCE <AND> MORE',
    context: ['CONTEXT 1', 'CONTEXT 2'],
    choices: ['CHOICE 1', 'CHOICE 2'],
    meta: { category: 'detail' },
    responses: [{ text: 'RESPONSE 1' }, { text: 'RESPONSE 2' }],
  };
  const names = guideNames();
  for (const name of [
    'claims',
    'helpsteer',
    'helpsteer-local',
    'mm-vet',
    'mmhal',
    'mt-bench-pair',
    'objects',
    'reward',
    'yes-no',
  ])
    assert.ok(names.includes(name), name);
  for (const name of names) {
    const guide = loadGuide(name);
    assert.equal(guide.name, name);
    const ready = await readyGuide(guide);
    const { calls } = planRun({ record, source: 's', line: 1 }, guide, { seed: 0, run: 1, shuffle: true });
    const texts = calls.map(
      (call) => `${ready.system?.render(call.variables)}\n${(ready.split ?? ready.user).render(call.variables)}`,
    );
    for (const text of texts) {
      assert.match(text, /RESPONSE [12]/, name);
      assert.doesNotMatch(text, /\{\{|\{%|<image>/, name);
      if (name !== 'shr') assert.match(text, /What is it\?/, name);
      for (const need of guide.needs)
        assert.match(text, new RegExp(need === 'choices' ? 'CHOICE 2' : need.toUpperCase()), name);
    }
  }
});

test('every guide shows the whole dialogue, images by number where they do not come first', async () => {
  const record: VprefRecord = {
    id: 'q1',
    images: ['a.png', 'b.png'],
    prompt: [
      { role: 'system', content: 'SYSTEM TEXT' },
      { role: 'user', content: 'Left is <image>, right is <image>. What differs?' },
      { role: 'assistant', content: 'EARLIER ANSWER' },
      { role: 'user', content: 'Say more about that.' },
    ],
    reference: 'REFERENCE',
    context: ['CONTEXT'],
    choices: ['CHOICE 1', 'CHOICE 2'],
    responses: [{ text: 'RESPONSE 1' }, { text: 'RESPONSE 2' }],
  };
  for (const name of guideNames()) {
    const guide = loadGuide(name);
    const ready = await readyGuide(guide);
    const { calls } = planRun({ record, source: 's', line: 1 }, guide, { seed: 0, run: 1, shuffle: true });
    for (const call of calls) {
      assert.equal(call.numberImages, true);
      const text = (ready.split ?? ready.user).render(call.variables);
      for (const said of [/SYSTEM TEXT/, /Left is \(image 1\), right is \(image 2\)\./, /EARLIER ANSWER/, /Say more/])
        assert.match(text, said, name);
    }
  }
});

test('the markers of MM-Vet get blanks around them', async () => {
  const ready = await readyGuide(loadGuide('mm-vet'));
  assert.match(
    ready.user.render({ question: 'q', reference: 'a<AND>b<OR>c', answer: 'x' }),
    /q \| a <AND> b <OR> c \| x \|$/,
  );
});

const head = '---\nname: mine\nshow: each\nreply: json\nscores: good=0..1 depth=0.0..5.5\n';

test('a guide of the user', () => {
  const guide = parseGuide(
    `${head}# a remark\ntemperature: 0.5\nstop: END\n---\n[system]\nBe fair.\n[user]\nLook: {{ answer }}\n`,
    'my.md',
  );
  assert.deepEqual(guide.scores, [
    { name: 'good', type: 'integer', minimum: 0, maximum: 1 },
    { name: 'depth', type: 'number', minimum: 0, maximum: 5.5 },
  ]);
  assert.deepEqual(
    [guide.system, guide.user, guide.temperature, guide.stop],
    ['Be fair.', 'Look: {{ answer }}', 0.5, ['END']],
  );
});

test('an error in a guide names its line', () => {
  const cases: [string, RegExp][] = [
    ['[user]\nhi', /my\.md:1: expected a head between two lines of ---/],
    [`${head}colour: red\n---\n[user]\nhi`, /my\.md:6: expected one of .*got "colour"/],
    [`${head}show: some\n---\n[user]\nhi`, /my\.md:6: expected show: all\|each\|pair, got "some"/],
    [`${head}max_tokens: many\n---\n[user]\nhi`, /my\.md:6: expected max_tokens: a number/],
    [`${head}needs: luck\n---\n[user]\nhi`, /my\.md:6: expected reference, choices or context/],
    [`${head}just words\n---\n[user]\nhi`, /my\.md:6: expected key: value/],
    ['---\nname: m\nshow: each\nreply: json\n---\n[user]\nhi', /scores: name=low\.\.high/],
    [
      '---\nname: m\nshow: each\nreply: json\nscores: a=4..0\n---\n[user]\nhi',
      /my\.md:5: expected name=low\.\.high, got "a=4\.\.0"/,
    ],
    ['---\nname: m\nshow: each\nreply: poem\n---\n[user]\nhi', /my\.md:4: expected reply: json\|/],
    ['---\nshow: each\nreply: grade\n---\n[user]\nhi', /name: a name/],
    [`${head}---\n[system]\nonly\n`, /a \[user\] section/],
  ];
  for (const [text, message] of cases) {
    assert.throws(
      () => parseGuide(text, 'my.md'),
      (cause: Error) => cause instanceof UsageError && message.test(cause.message),
      text,
    );
  }
  assert.throws(() => loadGuide('no-such'), /expected one of alpaca-eval, .*or a file, got "no-such"/);
});

const likely = (...lines: string[]) =>
  `---\nname: m\nshow: each\nreply: probability\n${lines.join('\n')}\n---\n[user]\nIs {{ answer }} right?\n`;
const yesNo = 'replies: {"yes": [1, "Yes", "yes"], "no": [0, "No"]}';

test('a guide of probabilities lists replies with values and spellings', () => {
  const guide = parseGuide(likely('scores: good=0..1', yesNo), 'my.md');
  assert.deepEqual(guide.replies, [
    { name: 'yes', value: 1, spellings: ['Yes', 'yes'] },
    { name: 'no', value: 0, spellings: ['No'] },
  ]);
  assert.equal(guide.claims, false);
  const split = `${likely('scores: good=0..1', yesNo, 'claims: true')}[split]\nSplit {{ answer }}`;
  assert.deepEqual([parseGuide(split, 'my.md').claims, parseGuide(split, 'my.md').split], [true, 'Split {{ answer }}']);
});

test('a key that a probability guide cannot have is an error with its line', () => {
  const metric = 'scores: good=0..1';
  const cases: [string, RegExp][] = [
    [likely(metric), /my\.md:1: expected replies: \{"NAME": \[VALUE, "SPELLING", \.\.\.\]/],
    [likely(yesNo), /scores: name=low\.\.high .*probability/],
    [likely(metric, 'replies: {"yes": [1, "yes"]}'), /my\.md:6: expected replies: .*two or more/],
    [likely(metric, 'replies: {"yes": [1, "yes"], "no": [0, "yes"]}'), /my\.md:6: .*each spelling once/],
    [likely(metric, 'replies: {"yes": ["yes"], "no": [0, "no"]}'), /my\.md:6: expected replies/],
    [likely(metric, 'replies: yes no'), /my\.md:6: expected replies/],
    [likely(metric, 'replies: {"yes": [1, "yes"], "no": [-1, "no"]}'), /values within 0\.\.1 \(good\), got "no: -1"/],
    [likely(metric, yesNo, 'temperature: 0'), /my\.md:7: expected no temperature: with reply: probability/],
    [likely(metric, yesNo, 'claims: true'), /a \[split\] section in a guide with claims: true/],
    [`${likely(metric, yesNo)}[split]\nx`, /a \[split\] section in a guide with claims: true, and in no other/],
    [likely(metric, yesNo).replace('each', 'all'), /my\.md:3: expected show: each/],
    [`${head}${yesNo}\n---\n[user]\nhi`, /my\.md:6: expected reply: probability/],
    [`${head}claims: true\n---\n[user]\nhi\n[split]\nx`, /my\.md:6: expected reply: probability/],
  ];
  for (const [text, message] of cases)
    assert.throws(
      () => parseGuide(text, 'my.md'),
      (cause: Error) => cause instanceof UsageError && message.test(cause.message),
      text,
    );
});

test('a template that does not parse is an error that names the guide', async () => {
  await assert.rejects(readyGuide(parseGuide(`${head}---\n[user]\n{% for %}`, 'my.md')), /guide mine: /);
});
