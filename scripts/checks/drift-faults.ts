// SPDX-License-Identifier: Apache-2.0
// eval drift against a server on loopback (our own engine on the demo model) that reads prompts wrongly: each planted fault must be named, and
// correct servers must agree, in every form of their numbers. Runs sample --endpoint, score --drift and eval drift.
// usage: node --import tsx scripts/checks/drift-faults.ts [ROWS]   (24 questions unless given; after the engine is built)
import { copyFileSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { scoreDrift as evalDrift } from '../../src/benchmarks/drift/score.ts';
import { openHttpClient } from '../../src/http/client.ts';
import type { ModelContext } from '../../src/model/context.ts';
import type { ModelOptions, OpenModel } from '../../src/model/load.ts';
import { randomStream } from '../../src/records/random.ts';
import type { VprefRecord } from '../../src/records/record.ts';
import { SAMPLING_DEFAULTS } from '../../src/records/sampling-settings.ts';
import { endpointFlow, sampleEndpoint } from '../../src/stages/sample/endpoint.ts';
import { scoreDrift } from '../../src/stages/score-drift.ts';
import { runRecords } from '../../test/support/annotate-stage.ts';
import { type Fault, startDriftServer, withOnly } from '../../test/support/drift-server.ts';
import { DEMO, openFixture } from '../../test/support/native.ts';
import { writeSafetensors } from '../../test/support/safetensors.ts';

const numRows = Number(process.argv[2] ?? 24);
const folder = mkdtempSync(join(tmpdir(), 'vpref-drift-'));
const data = 'fixtures/demo/data/test';
const captions = readFileSync(join(data, 'captions.jsonl'), 'utf8')
  .trim()
  .split('\n')
  .map((line) => JSON.parse(line));
const ASKED = [
  'Describe the image.',
  'Is there a dog in the image?',
  'List the objects in the image.',
  'Describe the image in detail.',
];
const image = (index: number) => join(data, 'images', captions[index % captions.length].image);
const rows = (of: (index: number) => Pick<VprefRecord, 'images' | 'prompt'>): VprefRecord[] =>
  Array.from({ length: numRows }, (_, index) => ({ id: `q${index}`, ...of(index) }));
const one = rows((index) => ({ images: [image(index)], prompt: ASKED[index % ASKED.length]! }));
const two = rows((index) => ({ images: [image(index), image(index + 7)], prompt: 'Describe the image.' }));
const system = rows((index) => ({
  images: [image(index)],
  prompt: [
    { role: 'system', content: 'Answer as shortly as you can, and name each object once.' },
    { role: 'user', content: `<image>${ASKED[index % ASKED.length]!}` },
  ],
}));
const broken = rows((index) => ({ images: [image(index)], prompt: `<image>\n${ASKED[index % ASKED.length]!}` }));
// Images that are not square.
const WIDE = readdirSync('fixtures/images').filter((name) => /^(photo|wide|tall).*\.(jpg|png)$/.test(name));
const wide = rows((index) => ({
  images: [join('fixtures/images', WIDE[index % WIDE.length]!)],
  prompt: [
    'Describe the image.',
    'List the objects in the image.',
    'What color is the background?',
    'Is there a dog in the image?',
  ][(index >> 1) % 4]!,
}));
const short = rows((index) => ({
  images: [image(index)],
  prompt: `Is there a ${['cat', 'tree', 'car'][index % 3]} in the image?`,
}));

const opened = new Map<string, Promise<OpenModel>>();
/** A variant of the model, loaded once. */
function form(options: Partial<ModelOptions> & { model?: string } = {}): Promise<OpenModel> {
  const key = JSON.stringify(options);
  if (!opened.has(key)) opened.set(key, openFixture(options.model ?? DEMO, options));
  return opened.get(key)!;
}

/** The demo's checkpoint with random low bits in its f16 weights. */
function otherCheckpoint(name: string, bits: number): string {
  const dir = join(folder, name);
  mkdirSync(dir);
  for (const file of readdirSync(DEMO)) copyFileSync(join(DEMO, file), join(dir, file));
  const path = join(dir, 'model.safetensors');
  const bytes = readFileSync(path);
  const random = randomStream(1, name);
  const begin = 8 + Number(bytes.readBigUInt64LE(0));
  for (let at = begin; at < bytes.length; at += 2)
    bytes.writeUInt16LE(bytes.readUInt16LE(at) ^ random.nextInt(2 ** bits), at);
  writeFileSync(path, bytes);
  return dir;
}

/** An adapter of random weights. */
function adapter(name: string, scale: number): string {
  const dir = join(folder, name);
  mkdirSync(dir);
  const random = randomStream(2, name);
  const values = (count: number) => Float32Array.from({ length: count }, () => scale * (random.nextFloat() - 0.5));
  const [width, rank] = [192, 8];
  const tensors = [0, 1, 2, 3].flatMap((layer) =>
    ['q_proj', 'v_proj'].flatMap((linear) => {
      const at = `base_model.model.model.language_model.layers.${layer}.self_attn.${linear}`;
      return [
        { name: `${at}.lora_A.weight`, shape: [rank, width], data: values(rank * width) },
        { name: `${at}.lora_B.weight`, shape: [width, rank], data: values(width * rank) },
      ];
    }),
  );
  writeSafetensors(join(dir, 'adapter_model.safetensors'), tensors);
  const config = {
    peft_type: 'LORA',
    r: rank,
    lora_alpha: 16,
    target_modules: ['q_proj', 'v_proj'],
    bias: 'none',
    task_type: 'CAUSAL_LM',
  };
  writeFileSync(join(dir, 'adapter_config.json'), JSON.stringify(config));
  return dir;
}

interface Case {
  name: string;
  expected: string;
  records?: VprefRecord[];
  /** The server's model and ours. */
  server?: Partial<ModelOptions> & { model?: string };
  ours?: Partial<ModelOptions>;
  fault?: Fault;
  maxTokens?: number;
}

const template = (asked: string) => ({ template: { asked, otherwise: asked } });
const noise = randomStream(3, 'f16');
const normal = () => Math.sqrt(-2 * Math.log(1 - noise.nextFloat())) * Math.cos(2 * Math.PI * noise.nextFloat());
const lora = adapter('lora', 0.3);
const imagesOf = ({ images = [] }: VprefRecord) => images;
let before: string[] = [];

const FAULTS: Case[] = [
  { name: 'the picture is dropped', expected: 'no-image', fault: { record: (record) => withOnly(record, []) } },
  {
    name: 'the picture is dropped, yes-no questions',
    records: short,
    expected: 'no-image',
    fault: { record: (record) => withOnly(record, []) },
  },
  {
    name: 'the picture is dropped, bf16 server',
    server: { dtype: 'bf16' },
    expected: 'no-image',
    fault: { record: (record) => withOnly(record, []) },
  },
  {
    name: 'image tokens twice',
    expected: 'doubled-image',
    fault: { record: (record) => withOnly(record, [...imagesOf(record), ...imagesOf(record)]) },
  },
  {
    name: 'only the first of two pictures',
    records: two,
    expected: 'first-image-only',
    fault: { record: (record) => withOnly(record, imagesOf(record).slice(0, 1)) },
  },
  {
    name: 'only the last of two pictures',
    records: two,
    expected: 'last-image-only',
    fault: { record: (record) => withOnly(record, imagesOf(record).slice(1)) },
  },
  {
    name: 'pictures cropped in place of padded',
    records: wide,
    expected: 'image-mode:crop',
    server: { images: { mode: { asked: 'crop' } } },
  },
  { name: 'the line break behind <image> is kept', records: broken, expected: 'image-line-break' },
  {
    name: 'BOS twice',
    expected: 'doubled-bos',
    fault: {
      prompt: (own) => ({
        ...own,
        promptIds: Int32Array.from([1, ...own.promptIds]),
        numPositions: own.numPositions + 1,
      }),
    },
  },
  {
    name: 'no BOS',
    expected: 'no-bos',
    fault: { prompt: (own) => ({ ...own, promptIds: own.promptIds.slice(1), numPositions: own.numPositions - 1 }) },
  },
  { name: 'template vicuna_v1', expected: 'template:vicuna_v1', server: template('vicuna_v1') },
  { name: 'template llava_v1', expected: 'template:llava_v1', server: template('llava_v1') },
  { name: 'template llama-2', expected: 'template:llama-2', server: template('llama-2') },
  { name: 'no template', expected: 'template:plain', server: template('plain') },
  {
    name: 'system text left out',
    records: system,
    expected: 'no-system',
    fault: {
      record: (record) => ({ ...record, prompt: (record.prompt as { role: 'user'; content: string }[]).slice(1) }),
    },
  },
  {
    name: 'no start of the answer',
    expected: 'no-generation-prompt',
    fault: { plan: (plan) => ({ ...plan, template: { ...plan.template, render: plan.template.renderWhole! } }) },
  },
  { name: 'bf16 server', expected: 'dtype:bf16', server: { dtype: 'bf16' } },
  {
    name: 'f16 server (errors of an eighth of bf16)',
    expected: 'dtype:f16',
    fault: {
      reply: (logps, tokens) => ({
        logps: logps.map((one) => Math.min(0, one + 0.001 * normal() * Math.min(1, -one))),
        tokens,
      }),
    },
  },
  { name: 'f32 server beside our bf16', expected: 'dtype:f32', ours: { dtype: 'bf16' } },
  { name: 'server without the adapter', expected: 'no-adapter', ours: { adapters: [lora] } },
  { name: 'server with an adapter that we do not have', expected: 'other-model', server: { adapters: [lora] } },
  {
    name: 'another checkpoint (weights off by 6 %)',
    expected: 'other-model',
    server: { model: otherCheckpoint('far', 7) },
  },
  {
    name: 'another checkpoint (weights off by 1.5 %)',
    expected: 'other-model',
    server: { model: otherCheckpoint('near', 5) },
  },
  {
    name: "the request before's picture",
    expected: 'other-model',
    fault: {
      record(record) {
        const own = before;
        before = imagesOf(record);
        return own.length === 0 ? record : withOnly(record, own);
      },
    },
  },
  {
    name: 'other tokens',
    expected: 'tokenisation',
    fault: {
      reply: (logps, tokens) => ({
        logps: logps.flatMap((one, k) => (tokens[k]!.trim().length > 3 ? [one / 2, one / 2] : [one])),
        tokens: tokens.flatMap((token) => (token.trim().length > 3 ? [token.slice(0, 3), token.slice(3)] : [token])),
      }),
    },
  },
  {
    name: 'every third picture is dropped',
    expected: 'mixed',
    fault: { record: (record, call) => (call % 3 === 0 ? withOnly(record, []) : record) },
  },
];

const AGREEING: Case[] = [
  { name: 'the same engine', expected: 'agrees' },
  { name: 'yes-no questions', records: short, expected: 'agrees' },
  { name: 'two pictures', records: two, expected: 'agrees' },
  { name: 'a system text', records: system, expected: 'agrees' },
  { name: 'with an adapter', server: { adapters: [lora] }, ours: { adapters: [lora] }, expected: 'agrees' },
  { name: 'bf16 both', server: { dtype: 'bf16' }, ours: { dtype: 'bf16' }, expected: 'agrees' },
  { name: 'cut by the length', maxTokens: 5, expected: 'agrees' },
  {
    name: 'without the end token',
    expected: 'agrees',
    fault: { reply: (logps, tokens) => ({ logps: logps.slice(0, -1), tokens: tokens.slice(0, -1) }) },
  },
  {
    name: 'blanks taken off the tokens',
    expected: 'agrees',
    fault: { reply: (logps, tokens) => ({ logps, tokens: tokens.map((token) => token.trimStart()) }) },
  },
  {
    name: 'tokens as ids',
    expected: 'agrees',
    fault: { reply: (logps, tokens) => ({ logps, tokens: tokens.map((_, k) => `token_id:${k}`) }) },
  },
  {
    name: 'sums in another order (errors of 1e-5)',
    expected: 'agrees',
    fault: { reply: (logps, tokens) => ({ logps: logps.map((one) => Math.min(0, one + 1e-5 * normal())), tokens }) },
  },
  {
    name: 'numbers in four digits',
    expected: 'agrees',
    fault: { reply: (logps, tokens) => ({ logps: logps.map((one) => Number(one.toFixed(4))), tokens }) },
  },
  { name: 'template vicuna_v1 both', server: template('vicuna_v1'), ours: template('vicuna_v1'), expected: 'agrees' },
  {
    name: 'cropped both',
    records: wide,
    server: { images: { mode: { asked: 'crop' } } },
    ours: { images: { mode: { asked: 'crop' } } },
    expected: 'agrees',
  },
];

async function judge({ records = one, server = {}, ours = {}, fault = {}, maxTokens = 48 }: Case) {
  const http = await startDriftServer(await form(server), fault);
  const client = await openHttpClient({ timeoutMs: 60_000 });
  try {
    const sampling = {
      model: 'served',
      ...SAMPLING_DEFAULTS,
      maxNewTokens: maxTokens,
      stop: [],
      seed: 0,
      views: 'original',
      logprobs: true,
    };
    const flow = endpointFlow(1);
    const sample = sampleEndpoint({
      client,
      baseUrl: http.base('openai'),
      sampling,
      flow,
      maxAttempts: 1,
      maxDelayMs: 1,
      window: 1,
      warn: (message) => console.log(message),
    });
    const own = await form(ours);
    const { dtype } = own.context.engine.info;
    const other = dtype === 'bf16' ? 'f32' : 'bf16';
    const forms = new Map<string, ModelContext>([[`dtype:${other}`, (await form({ ...ours, dtype: other })).context]]);
    if (ours.adapters) forms.set('no-adapter', (await form({ ...ours, adapters: [] })).context);
    const sampled = recordsOf(await runRecords(sample, records));
    const scored = recordsOf(await runRecords(scoreDrift(own.context, forms), sampled));
    const values = scored.map((value, index) => ({
      value: value as unknown as Record<string, unknown>,
      at: { source: 'scored', line: index + 1 },
    }));
    const file = { path: 'scored', stem: 'scored', sha256: '', rows: values };
    return evalDrift({ answers: [file], labels: [], questions: [], tables: [], options: {} as never });
  } finally {
    await client.close();
    await http.close();
  }
}

function recordsOf(results: { records: VprefRecord[]; error?: { message: string } }[]): VprefRecord[] {
  return results.map(({ records, error }) => {
    if (records.length === 0) throw new Error(error?.message ?? 'no record');
    return records[0]!;
  });
}

let wrong = 0;
for (const [kind, cases] of [
  ['planted', FAULTS],
  ['agreeing', AGREEING],
] as const) {
  for (const one of cases) {
    const { rows, notes } = await judge(one);
    const all = rows.find(({ split }) => split === 'all')!;
    const isRight = all.verdict === one.expected;
    if (!isRight) wrong += 1;
    console.log(
      `${isRight ? 'ok  ' : 'WRONG'} ${kind}: ${one.name}: ${notes[0]}${isRight ? '' : ` (expected ${one.expected})`}`,
    );
    if (!isRight) for (const row of rows) console.log(`        ${row.split}: ${row.n} ${row.score} mean ${row.mean}`);
  }
}
console.log(`${FAULTS.length} planted faults, ${AGREEING.length} agreeing servers, ${wrong} verdicts wrong`);
for (const model of opened.values()) await (await model).close();
rmSync(folder, { recursive: true });
process.exitCode = wrong === 0 ? 0 : 1;
