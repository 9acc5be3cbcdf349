// SPDX-License-Identifier: Apache-2.0
// Guides with claims and guides of probabilities, through the whole stage over a local judge.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { VprefRecord } from '../../../src/records/record.ts';
import type { AnnotateSettings } from '../../../src/stages/annotate/open.ts';
import { openAnnotate, surveyAnnotate } from '../../../src/stages/annotate/open.ts';
import { describeMass, newTally } from '../../../src/stages/annotate/tally.ts';
import { annotateSettings, asRows, entryOf, runRecords } from '../../support/annotate-stage.ts';
import { fakeContext } from '../../support/fake-engine.ts';

const image = 'fixtures/images/photo.jpg';
const record: VprefRecord = {
  id: 'a',
  prompt: 'What is in it?',
  images: [image],
  responses: [{ text: 'A dog and a cat.' }, { text: 'A car.' }, { text: '' }],
};

/** Settings of a local judge that writes `text` where it is asked for text. */
async function settingsOf(guide: string, text: (asked: string) => string, more: Partial<AnnotateSettings> = {}) {
  const context = await fakeContext((request) => text(context.tokenizer.decode([...request.promptIds])));
  const settings = annotateSettings('local:dir', { guide, ...more });
  settings.judgeOptions.openModel = async () => ({ context });
  return { settings, context };
}

async function annotated(settings: AnnotateSettings, records = [record]) {
  const { stage, tally } = await openAnnotate(settings);
  return { results: await runRecords(stage, records), tally };
}

test('an answer is split by the model, and one question is asked of each claim', async () => {
  const splits: string[] = [];
  const { settings, context } = await settingsOf('claims', (asked) => {
    splits.push(asked);
    return asked.includes('A dog') ? '1. There is a dog.\n- There is a cat.\n' : 'There is a car.';
  });
  const { results, tally } = await annotated(settings);
  const entry = entryOf(results[0]!);
  assert.equal(entry.outcome, 'ok');
  assert.deepEqual(
    entry.claims!.map((claims) => claims.map(({ text }) => text)),
    [['There is a dog.', 'There is a cat.'], ['There is a car.'], []],
  );
  const { p_yes: pYes, mass } = entry.claims![0]![0]!;
  assert.ok(pYes > 0 && pYes < 1 && mass > 0);
  const mean = (entry.claims![0]![0]!.p_yes + entry.claims![0]![1]!.p_yes) / 2;
  assert.deepEqual(entry.scores, [{ claims: 2, p_yes: mean }, { claims: 1, p_yes: entry.claims![1]![0]!.p_yes }, null]);
  // The words are split without the image; what is asked of them is asked of the image. Of an empty answer nothing is asked.
  assert.equal(splits.length, 2);
  assert.ok(context.engine.generated.every(({ images }) => images.length === 0));
  assert.deepEqual(
    context.engine.scored.map(({ images }) => images.length),
    [1, 1, 1],
  );
  const asked = context.engine.scored.map(({ promptIds }) => context.tokenizer.decode([...promptIds]));
  for (const claim of ['There is a dog.', 'There is a cat.', 'There is a car.'])
    assert.equal(asked.filter((text) => text.includes(`true of it?\n${claim}\n`)).length, 1);
  assert.equal(tally.questions, 5);
  assert.equal(tally.mass.n, 3);
});

test('a command splits in place of the judge, and the entry names it', async () => {
  const { settings } = await settingsOf('claims', () => assert.fail('asked for text'), {
    claims: `exec:jq -c --unbuffered '{id, reply: {claims: (.answers[0].text | rtrimstr(".") | split(" and "))}}'`,
  });
  const { results } = await annotated(settings);
  const entry = entryOf(results[0]!);
  assert.match(String(entry.split_by), /^exec:jq /);
  assert.deepEqual(
    entry.claims!.map((claims) => claims.map(({ text }) => text)),
    [['A dog', 'a cat'], ['A car'], []],
  );
});

test('an answer that cannot be split is a failed entry without scores', async () => {
  const { settings } = await settingsOf('claims', (asked) => (asked.includes('A car') ? '{"facts": 3}' : 'A dog.'));
  const { results } = await annotated(settings);
  const entry = entryOf(results[0]!);
  assert.deepEqual([entry.outcome, entry.scores, entry.claims], ['unparsable', undefined, undefined]);
  assert.match(String(entry.message), /expected \{"claims": \["\.\.\.", \.\.\.\]\} or one claim per line/);
  assert.equal(results[0]!.error?.code, 'unparsable');
});

test('expected grades: one question a metric, masses beside the scores', async () => {
  const { settings, context } = await settingsOf('helpsteer-local', () => assert.fail('asked for text'));
  const { results } = await annotated(settings);
  const entry = entryOf(results[0]!);
  const metrics = ['helpfulness', 'correctness', 'coherence', 'complexity', 'verbosity'];
  for (const scores of entry.scores!) {
    assert.deepEqual(Object.keys(scores!), metrics);
    for (const grade of Object.values(scores!)) assert.ok(grade > 0 && grade < 4);
  }
  assert.deepEqual(
    entry.mass!.map((mass) => Object.keys(mass!)),
    [metrics, metrics, metrics],
  );
  assert.equal(context.engine.scored.length, 15);
});

test('a mean mass below 0.5 gives a warning', () => {
  const tally = (sum: number, n: number) => ({ ...newTally(false), mass: { sum, n } });
  assert.equal(describeMass(tally(0, 0)), undefined);
  assert.equal(describeMass(tally(1.5, 3)), undefined);
  assert.match(
    describeMass(tally(0.3, 3))!,
    /^the judge gives the guide's replies a probability of 0\.1\d* on average, below 0\.5/,
  );
});

test('flags that do not work with a probability guide are refused by name', async () => {
  const refused = async (guide: string, more: Partial<AnnotateSettings>, message: RegExp) => {
    const { settings } = await settingsOf(guide, () => 'x', more);
    await assert.rejects(openAnnotate(settings), message);
  };
  await refused(
    'yes-no',
    { judge: 'openai:m' },
    /--guide yes-no: asks for probabilities: expected --judge local:DIR, got openai:m/,
  );
  await refused('yes-no', { runs: 2 }, /--runs: expected 1 with guide yes-no/);
  await refused('yes-no', { overrides: { temperature: 1 } }, /--temperature: expected none with guide yes-no/);
  await refused('yes-no', { claims: 'exec:cat' }, /--claims: expected a guide with claims: true, got guide yes-no/);
  await refused('claims', { claims: 'openai:m' }, /--claims: expected exec:CMD, got "openai:m"/);
  const { settings } = await settingsOf('claims', () => 'x');
  await assert.rejects(surveyAnnotate(asRows([record]), settings).next(), /--dry-run: the number of claims/);
});
