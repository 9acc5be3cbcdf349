// SPDX-License-Identifier: Apache-2.0
// Judging by probabilities on the demo model: how well P(yes) tells what is in a picture, beside the model's own text answers, and claims a second
// of questions that share what they begin with, in turns with prompts that do not.
//   node --import tsx bench/judging.ts [--images 40] [--claims 10] [--repeats 3]
import { setMaxListeners } from 'node:events';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { parseReplies } from '../src/stages/annotate/allowed-replies.ts';
import { askProbabilities } from '../src/stages/annotate/providers/reply-probabilities.ts';
import { openFixture } from '../test/support/native.ts';
import { report, root } from './support/run.ts';

const { values: flags } = parseArgs({
  options: {
    images: { type: 'string', default: '40' },
    claims: { type: 'string', default: '10' },
    repeats: { type: 'string', default: '3' },
  },
});
const data = join(root, 'fixtures/demo/data');
const test = join(data, 'test');
const lines = (name: string) =>
  readFileSync(join(test, name), 'utf8')
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line));
const replies = parseReplies('{"yes": [1, "Yes", "yes"], "no": [0, "No", "no"]}')!;
const model = await openFixture('fixtures/demo/tiny-llava');
const { signal } = new AbortController();
setMaxListeners(0, signal);

interface Asked {
  image: string;
  question: string;
}

async function pYes({ image, question }: Asked): Promise<number> {
  const record = { id: 'j', prompt: question, images: [join(test, 'images', image)] };
  const { text, message } = await askProbabilities(model.context, record, replies, signal);
  if (text === '') throw new Error(message);
  const { yes, no } = JSON.parse(text);
  masses.push(Math.exp(yes) + Math.exp(no));
  return 1 / (1 + Math.exp(no - yes));
}
const masses: number[] = [];

/** Area under the ROC curve; ties count a half. */
function auc(scored: { score: number; isTrue: boolean }[]): number {
  const positive = scored.filter(({ isTrue }) => isTrue);
  const negative = scored.filter(({ isTrue }) => !isTrue);
  let wins = 0;
  for (const { score } of positive)
    for (const other of negative) wins += score > other.score ? 1 : score === other.score ? 0.5 : 0;
  return wins / (positive.length * negative.length);
}

async function aucOf(name: string, items: (Asked & { isTrue: boolean; said?: boolean })[]): Promise<void> {
  masses.length = 0;
  const scored = await Promise.all(items.map(async (item) => ({ score: await pYes(item), isTrue: item.isTrue })));
  const said = items.flatMap(({ said, isTrue }) => (said === undefined ? [] : [{ score: Number(said), isTrue }]));
  report('judging', {
    name,
    n: items.length,
    true: items.filter(({ isTrue }) => isTrue).length,
    auc: Number(auc(scored).toFixed(4)),
    // A text says yes or no: one point of the curve.
    ...(said.length > 0 && { text_auc: Number(auc(said).toFixed(4)) }),
    accuracy: Number((scored.filter(({ score, isTrue }) => score >= 0.5 === isTrue).length / scored.length).toFixed(4)),
    mean_mass: Number((masses.reduce((sum, mass) => sum + mass, 0) / masses.length).toFixed(4)),
  });
}

const answers = new Map(
  lines('reference_answers.jsonl').map(({ file, question_id, answer }) => [`${file}/${question_id}`, String(answer)]),
);
for (const split of ['random', 'popular', 'adversarial']) {
  const items = lines(`pope_${split}.json`).map(({ question_id, image, text, label }) => ({
    ...{ image, question: String(text), isTrue: label === 'yes' },
    said: answers.get(`pope_${split}/${question_id}`)!.startsWith('Yes'),
  }));
  await aucOf(`pope, ${split}`, items);
}

// The claims of the model's own captions are the objects that it names: they are what it believed when it wrote them.
const { groups, plural } = JSON.parse(readFileSync(join(data, 'classes.json'), 'utf8'));
const names: string[] = Object.values<string[]>(groups).flat();
const article = (name: string) => (/^[aeiou]/.test(name) ? `an ${name}` : `a ${name}`);
const ask = (image: string, name: string): Asked => ({ image, question: `Is there ${article(name)} in the image?` });
const mentioned = (text: string) =>
  names.filter((name) => new RegExp(`\\b(?:${name}|${plural[name] ?? `${name}s`})\\b`).test(text));
const scenes = lines('captions.jsonl');
const claims = scenes.flatMap(({ question_id, image, objects }) =>
  mentioned(answers.get(`captions/${question_id}`) ?? '').map((name) => ({
    ...ask(image, name),
    isTrue: objects.includes(name),
  })),
);
await aucOf('claims of its own captions', claims);

// --- claims a second ----------------------------------------------------------------------------------------------------------------

const numClaims = Number(flags.claims);
const images: string[] = scenes.slice(0, Number(flags.images)).map(({ image }) => image);
const grouped = images.map((image, at) =>
  Array.from({ length: numClaims }, (_, k) => ask(image, names[(at + 5 * k) % names.length]!)),
);
async function inFlight(questions: Asked[], most: number): Promise<void> {
  const left = questions[Symbol.iterator]();
  await Promise.all(
    Array.from({ length: most }, async () => {
      for (const question of left) await pYes(question);
    }),
  );
}
/** First all first claims, then all second ones: what is in the engine together begins with different pictures. */
const apart = Array.from({ length: numClaims }, (_, k) => grouped.map((questions) => questions[k]!)).flat();
const ways: Record<string, () => Promise<void>> = {
  'claims of an answer together, 64 in flight': () => inFlight(grouped.flat(), 64),
  'no two of one picture together, as many in flight as there are pictures': () =>
    inFlight(apart, Math.min(64, images.length)),
  'one prompt after the other': () => inFlight(apart, 1),
};
const best = new Map<string, number>();
for (let repeat = 0; repeat < Number(flags.repeats); repeat += 1)
  for (const [name, run] of Object.entries(ways)) {
    const started = performance.now();
    await run();
    best.set(name, Math.min(best.get(name) ?? Number.POSITIVE_INFINITY, performance.now() - started));
  }
const [first] = best.values();
for (const [name, ms] of best)
  report('judging', {
    ...{ name, claims_per_answer: numClaims, claims: apart.length },
    claims_per_second: Math.round((1000 * apart.length) / ms),
    times_slower: Number((ms / first!).toFixed(2)),
  });
await model.close();
