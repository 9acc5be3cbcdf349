// SPDX-License-Identifier: Apache-2.0
// A DPO step with pictures on every tiny vision-language checkpoint, through the commands: sums, loss and gradients of peft's adapter, keys as older
// versions spell them, the merged model, the trained connector.
import assert from 'node:assert/strict';
import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import type { VprefRecord } from '../../src/records/record.ts';
import { FAMILY_FIXTURES, fixtureDir, fixtureImage, goldenPrompts, goldenRows, OWN } from '../support/families.ts';
import { withoutEngine } from '../support/native.ts';
import { runCli } from '../support/run-cli.ts';
import { readSafetensors } from '../support/safetensors.ts';

interface Dpo {
  pairs: { id: string; policy_chosen: number; policy_rejected: number }[];
  loss_mean: number;
}

const SUM = 5e-4;
const LOSS = 2e-5;
const GRADIENT = 2e-4;
const FLAGS = ['--dtype', 'f32', '--device', 'cpu', '--threads', '1'];
const folder = mkdtempSync(join(tmpdir(), 'vpref-training-'));
after(() => rmSync(folder, { recursive: true, force: true }));

for (const name of ['llava_next', 'smolvlm', 'qwen2_vl', 'qwen2_5_vl', 'qwen3_vl', ...OWN])
  test(`${name}: a DPO step with pictures`, { skip: withoutEngine }, async (t) => {
    const dir = fixtureDir(name);
    const model = ['--model', `${dir}/ckpt`, ...FLAGS];
    const adapter = `${dir}/adapter`;
    const dpo: Dpo = JSON.parse(readFileSync(`${dir}/dpo.json`, 'utf8'));
    const input = writeRecords(`${name}.ndjson`, pairsOf(name, dpo));
    const probe = await runCli(['precompute-ref', ...model, input]);
    // The two halves of a family come one after the other.
    if (/model_type: expected/.test(probe.stderr)) return t.skip('the engine does not read this family yet');
    assert.equal(probe.code, 0, probe.stderr);
    expectPolicy(dpo, (await run(['precompute-ref', ...model, '--adapter', adapter, input])).records);

    const referenced = writeRecords(`${name}-ref.ndjson`, parse(probe.stdout));
    const gradients = join(folder, `${name}.safetensors`);
    const step = ['--batch-size', '3', '--no-shuffle', '--beta', '0.1'];
    const start = ['--init-adapter', adapter, '--save-gradients', gradients, '-o', join(folder, `${name}-started`)];
    const [line] = (await run(['train', ...model, ...step, ...start, referenced])).records as unknown as [
      { loss: number },
    ];
    assert.ok(Math.abs(line.loss - dpo.loss_mean) <= LOSS, `loss: expected ${dpo.loss_mean}, got ${line.loss}`);
    expectGradients(gradients, `${dir}/grads.safetensors`);

    const merged = join(folder, `${name}-merged`);
    await run(['export', 'merge', '--model', `${dir}/ckpt`, '--adapter', adapter, '--dtype', 'f32', '-o', merged]);
    expectPolicy(dpo, (await run(['precompute-ref', '--model', merged, ...FLAGS, input])).records);

    // A fresh adapter with the connector: what was trained is saved under the names of transformers' tree and read again.
    const trained = join(folder, `${name}-connector`);
    const fresh = [
      '--lora-r',
      '2',
      '--lora-alpha',
      '4',
      '--train-projector',
      '--lr',
      '1e-3',
      '--warmup-ratio',
      '0',
      '-o',
      trained,
    ];
    await run(['train', ...model, ...step, ...fresh, referenced]);
    const saved = [...readSafetensors(`${trained}/adapter_model.safetensors`).keys()];
    const { modules_to_save: modules } = JSON.parse(readFileSync(`${trained}/adapter_config.json`, 'utf8'));
    assert.ok(modules.length > 0);
    for (const module of modules)
      assert.ok(
        saved.some((key) => key.includes(`.${module}.`)),
        `${module}: ${saved}`,
      );
    const after = (await run(['precompute-ref', ...model, '--adapter', trained, input])).records;
    assert.notDeepEqual(sums(after[0]!), sums(parse(probe.stdout)[0]!));
  });

for (const name of ['qwen2_vl', 'qwen2_5_vl'])
  test(`${name}: an adapter with the keys of transformers before 4.52, which peft loads without effect`, {
    skip: withoutEngine,
  }, async () => {
    const dir = `${FAMILY_FIXTURES}/${name}`;
    const dpo: Dpo = JSON.parse(readFileSync(`${dir}/dpo.json`, 'utf8'));
    const old = join(folder, `${name}-old`);
    cpSync(`${dir}/adapter`, old, { recursive: true });
    rename(`${old}/adapter_model.safetensors`, 'model.language_model.layers.', 'model.layers.');
    const config = JSON.parse(readFileSync(`${old}/adapter_config.json`, 'utf8'));
    config.target_modules = ['q_proj', 'k_proj', 'v_proj', 'o_proj', 'gate_proj', 'up_proj', 'down_proj'];
    writeFileSync(`${old}/adapter_config.json`, JSON.stringify(config));
    const input = writeRecords(`${name}-old.ndjson`, pairsOf(name, dpo));
    const { records, stderr } = await run([
      'precompute-ref',
      '--model',
      `${dir}/ckpt`,
      ...FLAGS,
      '--adapter',
      old,
      input,
    ]);
    expectPolicy(dpo, records);
    assert.match(
      stderr,
      /28 names are spelled as other versions do: .*model\.layers\.0.* is taken for model\.language_model\.layers\.0/,
    );
  });

function pairsOf(name: string, dpo: Dpo): VprefRecord[] {
  const prompts = goldenPrompts(name);
  const rows = goldenRows(name);
  return dpo.pairs.map(({ id }) => {
    const { images, answers } = rows.find((row) => row.id === id)!;
    const [chosen, rejected] = answers.map(({ text }) => text) as [string, string];
    return {
      id,
      images: images.map((file) => `${process.cwd()}/${fixtureImage(name, file)}`),
      prompt: prompts.get(id)!,
      chosen,
      rejected,
    };
  });
}

function writeRecords(name: string, records: object[]): string {
  const file = join(folder, name);
  writeFileSync(file, records.map((record) => `${JSON.stringify(record)}\n`).join(''));
  return file;
}

const parse = (text: string): VprefRecord[] =>
  text.trim() === ''
    ? []
    : text
        .trim()
        .split('\n')
        .map((line) => JSON.parse(line));

async function run(args: string[]): Promise<{ records: VprefRecord[]; stderr: string }> {
  const { code, stdout, stderr } = await runCli(args);
  assert.equal(code, 0, stderr);
  return { records: parse(stdout), stderr };
}

const sums = (record: VprefRecord): number[] => [record.ref_chosen_logps!, ...[record.ref_rejected_logps!].flat()];

function expectPolicy({ pairs }: Dpo, records: VprefRecord[]): void {
  assert.equal(records.length, pairs.length);
  for (const [index, { id, policy_chosen, policy_rejected }] of pairs.entries()) {
    const [chosen, rejected] = sums(records[index]!) as [number, number];
    assert.ok(Math.abs(chosen - policy_chosen) <= SUM, `${id}: expected ${policy_chosen}, got ${chosen}`);
    assert.ok(Math.abs(rejected - policy_rejected) <= SUM, `${id}: expected ${policy_rejected}, got ${rejected}`);
  }
}

// Relative L2 of every tensor.
function expectGradients(got: string, want: string): void {
  const ours = readSafetensors(got);
  const floats = (bytes: Buffer) =>
    new Float32Array(bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.byteLength));
  for (const [key, bytes] of readSafetensors(want)) {
    const expected = floats(bytes);
    const values = floats(ours.get(key.replace('base_model.model.', ''))!);
    const distance = Math.hypot(...expected.map((value, i) => value - values[i]!));
    assert.ok(distance <= GRADIENT * Math.hypot(...expected), `${key}: ${distance}`);
  }
}

// Of the names in a safetensors file alone: the tensors stay where they are.
function rename(file: string, from: string, to: string): void {
  const bytes = readFileSync(file);
  const end = 8 + Number(bytes.readBigUInt64LE(0));
  const header = Buffer.from(bytes.toString('utf8', 8, end).trimEnd().replaceAll(from, to));
  const padded = Buffer.concat([header, Buffer.alloc((8 - (header.length % 8)) % 8, ' ')]);
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(padded.length));
  writeFileSync(file, Buffer.concat([length, padded, bytes.subarray(end)]));
}
