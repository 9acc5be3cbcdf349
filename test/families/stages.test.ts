// SPDX-License-Identifier: Apache-2.0
// Every model stage once over every tiny checkpoint: sample, score, precompute-ref, train, doctor; image mode and limits stay what the first stage recorded.
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { familyOf } from '../../families/index.ts';
import type { VprefRecord } from '../../src/records/record.ts';
import { FAMILY_FIXTURES, familyOfFixture, fixtureDir, TEXT_FAMILIES, VISION_FAMILIES } from '../support/families.ts';
import { withoutEngine } from '../support/native.ts';
import { runCli } from '../support/run-cli.ts';

const folder = mkdtempSync(join(tmpdir(), 'vpref-stages-'));
after(() => rmSync(folder, { recursive: true, force: true }));

const image = (name: string) => `${FAMILY_FIXTURES}/images/${name}.png`;

// One picture, two of different sizes with one in a later turn, none.
const RECORDS: VprefRecord[] = [
  {
    id: 'one',
    images: [image('wide')],
    prompt: 'What do you see?',
    chosen: 'Soft colours.',
    rejected: ['Two cats.', 'No.'],
  },
  {
    id: 'two',
    images: [image('half32'), image('tiny')],
    prompt: [
      { role: 'user', content: '<image>What is it?' },
      { role: 'assistant', content: 'A field.' },
      { role: 'user', content: '<image>And here?' },
    ],
    chosen: 'Three shapes.',
    rejected: ['A dog.', 'None.'],
  },
  { id: 'none', prompt: 'Say hello.', chosen: 'Hello.', rejected: ['No.', 'Yes.'] },
];

for (const name of [...TEXT_FAMILIES, ...VISION_FAMILIES, 'idefics3-odd', 'qwen2_5_vl-windows'])
  test(`${name}: every stage`, { skip: withoutEngine }, async (t) => {
    const { vision } = familyOf({ model_type: familyOfFixture(name) }, name);
    const model = ['--model', `${fixtureDir(name)}/ckpt`, '--device', 'cpu', '--dtype', 'f32', '--threads', '1'];
    const limits = vision?.hasPixelLimits ? ['--max-pixels', '12544'] : [];
    const records = vision ? RECORDS : RECORDS.filter(({ images }) => images === undefined);
    const run = async (verb: string, input: object[], ...flags: string[]): Promise<VprefRecord[]> => {
      const lines = `${input.map((record) => JSON.stringify(record)).join('\n')}\n`;
      const { code, stdout, stderr } = await runCli([verb, '-q', ...model, ...flags], { input: lines });
      if (/model_type: expected/.test(stderr)) return [];
      assert.equal(code, 0, stderr);
      return stdout
        .trimEnd()
        .split('\n')
        .map((line) => JSON.parse(line));
    };
    const sampled = await run('sample', records, '--max-new-tokens', '4', '--logps', ...limits);
    // The two halves of a family come one after the other.
    if (sampled.length === 0) return t.skip('the engine does not read this family yet');
    for (const { sampling, responses } of sampled) {
      assert.equal(sampling!.image_mode, vision?.imageModes[0]);
      assert.equal(sampling!.max_pixels, vision?.hasPixelLimits ? 12544 : undefined);
      assert.equal(responses!.length, 1);
    }
    const scored = await run('score', sampled);
    // Random weights write text that is tokenised otherwise than it was drawn: the sums need not be equal (engine.test.ts has the numbers).
    for (const { responses } of scored) assert.ok(responses![0]!.logps! < 0);
    const referenced = await run('precompute-ref', sampled);
    for (const { ref, sampling } of referenced)
      for (const field of ['image_mode', 'max_pixels', 'min_pixels'] as const)
        assert.equal(ref![field], sampling![field], field);
    const settings = [
      '--loss',
      'softmax',
      '--lora-r',
      '2',
      '--lora-alpha',
      '4',
      '--batch-size',
      '4',
      '--max-steps',
      '1',
    ];
    const [step] = (await run('train', referenced, ...settings, '-o', join(folder, name))) as unknown as [
      { loss: number },
    ];
    assert.ok(Math.abs(step.loss - Math.log(3)) < 1e-5, `a fresh adapter's loss: ${step.loss}`);
    const asked = vision ? ['--image', image('big')] : [];
    const { code, stdout } = await runCli(['doctor', '--model', model[1]!, ...asked]);
    const checks = stdout
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line));
    assert.deepEqual([code, checks.filter(({ check }) => check === 'image').length], [0, asked.length / 2]);
  });
