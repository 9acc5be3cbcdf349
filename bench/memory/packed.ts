// SPDX-License-Identifier: Apache-2.0
// Resident memory of a packed base: node --import tsx bench/memory/packed.ts [SHAPE] [FORM] [DIR]. A checkpoint of random bf16 weights is written to DIR (7b: 13 GB,
// with no holes), then sampled from and trained on for one DPO step: prompt of about 630 tokens, answers of about 60, rank 64. One row each: planned and measured.
// Takes minutes; not part of any test. The limits of a step are LIMITS; decoding of 7b stays below 6 GiB.
import { execFileSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import {
  closeSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  openSync,
  readFileSync,
  renameSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { join } from 'node:path';
import { report } from '../support/run.ts';

const SHAPES = {
  small: { hidden: 512, inner: 1376, layers: 8, heads: 8, vocab: 832 },
  '1b': { hidden: 2048, inner: 5632, layers: 22, heads: 16, vocab: 32000 },
  '7b': { hidden: 4096, inner: 11008, layers: 32, heads: 32, vocab: 32000 },
  '13b': { hidden: 5120, inner: 13824, layers: 40, heads: 40, vocab: 32000 },
};
/** The resident memory of a DPO step, as --memory-limit takes it. */
const LIMITS: Record<string, string> = { small: '1G', '1b': '4G', '7b': '10G', '13b': '16G' };
const [shape = 'small', form = 'nf4', dir = `bench-packed-${shape}`] = process.argv.slice(2);
if (!(shape in SHAPES)) throw new Error(`SHAPE: expected ${Object.keys(SHAPES).join(', ')}, got ${shape}`);
const { hidden, inner, layers, heads, vocab } = SHAPES[shape as keyof typeof SHAPES];
const from = 'fixtures/tiny-text';

function writeShard(file: string, tensors: [name: string, shape: number[]][]): void {
  let end = 0;
  const header: Record<string, object> = {};
  for (const [name, size] of tensors) {
    const begin = end;
    end += 2 * size.reduce((a, b) => a * b, 1);
    header[name] = { dtype: 'BF16', shape: size, data_offsets: [begin, end] };
  }
  let json = JSON.stringify(header);
  json += ' '.repeat((8 - (json.length % 8)) % 8);
  const out = openSync(`${file}.partial`, 'w');
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(json.length));
  writeSync(out, Buffer.concat([length, Buffer.from(json)]));
  const piece = Buffer.alloc(1 << 22);
  for (let left = end; left > 0; left -= piece.length) {
    // Of both signs, from 2^-10 to 2^-5.
    randomBytes(piece.length).copy(piece);
    for (let i = 1; i < piece.length; i += 2) piece[i] = (piece[i]! & 0x80) | (0x3a + (piece[i]! % 3));
    writeSync(out, piece, 0, Math.min(left, piece.length));
  }
  closeSync(out);
  renameSync(`${file}.partial`, file);
}

function writeCheckpoint(): void {
  mkdirSync(dir, { recursive: true });
  for (const name of [
    'tokenizer.json',
    'tokenizer_config.json',
    'special_tokens_map.json',
    'added_tokens.json',
    'chat_template.jinja',
    'generation_config.json',
  ])
    copyFileSync(join(from, name), join(dir, name));
  const config = JSON.parse(readFileSync(join(from, 'config.json'), 'utf8'));
  Object.assign(config, {
    attention_bias: false,
    dtype: 'bfloat16',
    hidden_size: hidden,
    intermediate_size: inner,
    num_hidden_layers: layers,
  });
  Object.assign(config, {
    num_attention_heads: heads,
    num_key_value_heads: heads,
    head_dim: hidden / heads,
    vocab_size: vocab,
    max_position_embeddings: 4096,
  });
  writeFileSync(join(dir, 'config.json'), JSON.stringify(config));
  const shards: [string, number[]][][] = [
    [
      ['model.embed_tokens.weight', [vocab, hidden]],
      ['lm_head.weight', [vocab, hidden]],
      ['model.norm.weight', [hidden]],
    ],
  ];
  for (let i = 0; i < layers; i++) {
    const at = `model.layers.${i}`;
    const attention = ['q_proj', 'k_proj', 'v_proj', 'o_proj'].map((name): [string, number[]] => [
      `${at}.self_attn.${name}.weight`,
      [hidden, hidden],
    ]);
    shards.push([
      ...attention,
      [`${at}.mlp.gate_proj.weight`, [inner, hidden]],
      [`${at}.mlp.up_proj.weight`, [inner, hidden]],
      [`${at}.mlp.down_proj.weight`, [hidden, inner]],
      [`${at}.input_layernorm.weight`, [hidden]],
      [`${at}.post_attention_layernorm.weight`, [hidden]],
    ]);
  }
  const map: Record<string, string> = {};
  for (const [i, tensors] of shards.entries()) {
    const name = `model-${String(i + 1).padStart(5, '0')}-of-${String(shards.length).padStart(5, '0')}.safetensors`;
    if (!existsSync(join(dir, name))) writeShard(join(dir, name), tensors);
    for (const [tensor] of tensors) map[tensor] = name;
  }
  writeFileSync(join(dir, 'model.safetensors.index.json'), JSON.stringify({ metadata: {}, weight_map: map }));
}

/** Runs vpref; returns its output and its peak resident memory in bytes (GNU time). */
function measured(args: string[], input: string): { stdout: string; peak: number } {
  const log = join(dir, 'time.txt');
  const stdout = execFileSync('/usr/bin/time', ['-f', '%M', '-o', log, 'node', 'bin/run.js', ...args], {
    input,
    encoding: 'utf8',
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  return { stdout, peak: 1024 * Number(readFileSync(log, 'utf8').trim().split('\n').at(-1)) };
}

/** Doctor's plan for this form, in bytes: [sampling, DPO step]. */
function planned(): [number, number] {
  const sizes = [
    '--lora-r',
    '64',
    '--prompt-tokens',
    '625',
    '--response-tokens',
    '60',
    '--memory-limit',
    LIMITS[shape]!,
  ];
  const { stdout } = measured(['doctor', '--model', dir, '--device', 'cpu', '--headers-only', ...sizes], '');
  const rows = stdout.split('\n').filter(Boolean);
  const found = rows.map((line) => JSON.parse(line)).find((row) => row.check === 'form' && row.form === form);
  if (found === undefined) throw new Error(`doctor: no row of ${form}: ${stdout}`);
  return [found.sampling_bytes, found.step_bytes];
}

const gib = (bytes: number) => Number((bytes / 2 ** 30).toFixed(3));
// The plan counts the whole embedding, which stays in its file. These runs read a few of its rows.
const unread = { embedding_unread_gib: gib(vocab * hidden * 2) };
const row = (what: string, figures: object) => report('packed-memory', { what, shape, form, ...figures });
writeCheckpoint();
const [samplingPlan, stepPlan] = planned();
const model = ['--model', dir, '--quantize', form, '--verbose'];
const prompt = 'the '.repeat(620).trim();
const sampled = measured(
  ['sample', ...model, '--max-new-tokens', '32'],
  `${JSON.stringify({ id: 'a', prompt: 'the red one' })}\n`,
);
// The plan has room for a whole batch and a long cache; a short prompt uses little of it.
row('decode', { planned_gib: gib(samplingPlan), resident_gib: gib(sampled.peak), ...unread });
const pair = { id: 'a', prompt, chosen: 'a '.repeat(59).trim(), rejected: 'one '.repeat(59).trim() };
const trained = measured(
  [
    ...['train', ...model, '--lora-r', '64', '--batch-size', '1', '--max-steps', '1'],
    ...['--memory-limit', LIMITS[shape]!, '-o', join(dir, `run-${Date.now()}`)],
  ],
  `${JSON.stringify(pair)}\n`,
);
const { loss, grad_norm } = JSON.parse(trained.stdout.trim().split('\n')[0]!);
row('dpo step', { planned_gib: gib(stepPlan), resident_gib: gib(trained.peak), ...unread, loss, grad_norm });
