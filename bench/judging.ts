// SPDX-License-Identifier: Apache-2.0
// Judging by probabilities on the demo model: how well P(yes) predicts what is in an image, compared with the model's text answers; and claims per second
// of questions with a shared prefix, alternating with prompts without one: at the demo's 64 image tokens, and at LLaVA-1.5's 576.
//   node --import tsx bench/judging.ts [--images 40] [--claims 10] [--repeats 3] [--only auc|claims]
import { setMaxListeners } from 'node:events';
import { copyFileSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { parseReplies } from '../src/stages/annotate/allowed-replies.ts';
import { askProbabilities } from '../src/stages/annotate/providers/reply-probabilities.ts';
import { openFixture } from '../test/support/native.ts';
import { writeSafetensors } from '../test/support/safetensors.ts';
import { report, root } from './support/run.ts';

const { values: flags } = parseArgs({
  options: {
    images: { type: 'string', default: '40' },
    claims: { type: 'string', default: '10' },
    repeats: { type: 'string', default: '3' },
    only: { type: 'string' },
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
const DEMO = join(root, 'fixtures/demo/tiny-llava');
let model = await openFixture(DEMO);
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
    // A text answer is yes or no: one point of the curve.
    ...(said.length > 0 && { text_auc: Number(auc(said).toFixed(4)) }),
    accuracy: Number((scored.filter(({ score, isTrue }) => score >= 0.5 === isTrue).length / scored.length).toFixed(4)),
    mean_mass: Number((masses.reduce((sum, mass) => sum + mass, 0) / masses.length).toFixed(4)),
  });
}

const answers = new Map(
  lines('reference_answers.jsonl').map(({ file, question_id, answer }) => [`${file}/${question_id}`, String(answer)]),
);
const doesAuc = flags.only !== 'claims';
for (const split of doesAuc ? ['random', 'popular', 'adversarial'] : []) {
  const items = lines(`pope_${split}.json`).map(({ question_id, image, text, label }) => ({
    ...{ image, question: String(text), isTrue: label === 'yes' },
    said: answers.get(`pope_${split}/${question_id}`)!.startsWith('Yes'),
  }));
  await aucOf(`pope, ${split}`, items);
}

// The claims of the model's own captions are the objects that it names, so it believed them when it wrote them.
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
if (doesAuc) await aucOf('claims of its own captions', claims);

// --- claims per second --------------------------------------------------------------------------------------------------------------

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
/** First all first claims, then all second ones: concurrent requests then begin with different images. */
const apart = Array.from({ length: numClaims }, (_, k) => grouped.map((questions) => questions[k]!)).flat();
const ways: Record<string, () => Promise<void>> = {
  'claims of an answer together, 64 in flight': () => inFlight(grouped.flat(), 64),
  'no two of one picture together, as many in flight as there are pictures': () =>
    inFlight(apart, Math.min(64, images.length)),
  'one prompt after the other': () => inFlight(apart, 1),
};
async function claimsASecond(of: string, numTokens: number): Promise<void> {
  const best = new Map<string, number>();
  const busy = new Map<string, number>();
  for (let repeat = 0; repeat < Number(flags.repeats); repeat += 1)
    for (const [name, run] of Object.entries(ways)) {
      const [started, used] = [performance.now(), process.cpuUsage()];
      await run();
      best.set(name, Math.min(best.get(name) ?? Number.POSITIVE_INFINITY, performance.now() - started));
      const { user, system } = process.cpuUsage(used);
      busy.set(name, Math.min(busy.get(name) ?? Number.POSITIVE_INFINITY, (user + system) / 1000));
    }
  const [first] = best.values();
  const [leastBusy] = busy.values();
  for (const [name, ms] of best)
    report('judging', {
      ...{ name, model: of, image_tokens: numTokens, claims_per_answer: numClaims, claims: apart.length },
      claims_per_second: Math.round((1000 * apart.length) / ms),
      times_slower: Number((ms / first!).toFixed(2)),
      // Other load on a shared machine affects only the wall time.
      cpu_ms_per_claim: Number((busy.get(name)! / apart.length).toFixed(2)),
      times_the_cpu: Number((busy.get(name)! / leastBusy!).toFixed(2)),
    });
  await model.close();
}

/** The demo's weights with images of 384 pixels, 24 x 24 patches: only the number of image tokens differs from the demo. */
function withLargePictures(): string {
  const folder = mkdtempSync(join(tmpdir(), 'vpref-judging-'));
  for (const file of readdirSync(DEMO)) copyFileSync(join(DEMO, file), join(folder, file));
  const change = (file: string, edit: (json: ReturnType<typeof JSON.parse>) => void) => {
    const json = JSON.parse(readFileSync(join(folder, file), 'utf8'));
    edit(json);
    writeFileSync(join(folder, file), JSON.stringify(json));
  };
  change('config.json', (config) => {
    config.vision_config.image_size = 384;
    config.image_seq_length = 576;
    config.text_config.max_position_embeddings = 1024;
  });
  change('preprocessor_config.json', (config) => {
    config.crop_size = { height: 384, width: 384 };
    config.size = { shortest_edge: 384 };
  });
  const bytes = readFileSync(join(DEMO, 'model.safetensors'));
  const begin = 8 + Number(bytes.readBigUInt64LE(0));
  const { __metadata__: _, ...header } = JSON.parse(bytes.toString('utf8', 8, begin));
  const tensors = Object.entries<{ shape: number[]; data_offsets: [number, number] }>(header).map(([name, tensor]) => {
    const [from, to] = tensor.data_offsets;
    const data = new Uint16Array(Uint8Array.from(bytes.subarray(begin + from, begin + to)).buffer);
    if (!name.endsWith('position_embedding.weight')) return { name, shape: tensor.shape, data, dtype: 'F16' as const };
    const width = tensor.shape[1]!;
    const more = Uint16Array.from({ length: 577 * width }, (_, k) => data[k % data.length]!);
    return { name, shape: [577, width], data: more, dtype: 'F16' as const };
  });
  writeSafetensors(join(folder, 'model.safetensors'), tensors);
  return folder;
}

if (flags.only !== 'auc') {
  await claimsASecond('tiny-llava', 64);
  const folder = withLargePictures();
  model = await openFixture(folder);
  await claimsASecond('tiny-llava at 384 pixels', 576);
  rmSync(folder, { recursive: true });
}
