// SPDX-License-Identifier: Apache-2.0
// From records to log-probabilities through the real engine, on every tiny checkpoint: prompts of several images, later turns and no image, and pictures
// of hard shapes, against transformers in float32.
import assert from 'node:assert/strict';
import { cpSync, existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { EngineError } from '../../src/engine/engine-error.ts';
import type { Stage } from '../../src/flow/stage.ts';
import type { OpenModel } from '../../src/model/load.ts';
import { encodePng } from '../../src/pixels/decode.ts';
import type { VprefRecord } from '../../src/records/record.ts';
import { SAMPLING_DEFAULTS } from '../../src/records/sampling-settings.ts';
import { type SampleOptions, sample } from '../../src/stages/sample.ts';
import { score } from '../../src/stages/score.ts';
import { readGolden } from '../pixels/golden.ts';
import { runStage } from '../support/fake-engine.ts';
import {
  FAMILY_FIXTURES,
  fixtureDir,
  fixtureImage,
  goldenPrompts,
  goldenRows,
  hardPicture,
  TEXT_FAMILIES,
  VISION_FAMILIES,
  VISION_FIXTURES,
} from '../support/families.ts';
import { openFixture, withoutEngine } from '../support/native.ts';

const folder = mkdtempSync(join(tmpdir(), 'vpref-families-'));
after(() => rmSync(folder, { recursive: true, force: true }));

const GREEDY: SampleOptions = {
  ...SAMPLING_DEFAULTS,
  maxNewTokens: 24,
  stop: [],
  views: 'original',
  logps: false,
  seed: 0,
};

/** Of a summed log-probability. */
const BAR = 5e-4;

for (const name of [...TEXT_FAMILIES, ...VISION_FIXTURES]) {
  for (const layout of existsSync(`${fixtureDir(name)}/alt-v5`) ? ['ckpt', 'alt-v5'] : ['ckpt'])
    test(
      `${name}, files as in ${layout}: sums of all golden answers, greedy answers, stop lists`,
      { skip: withoutEngine },
      (t) =>
        withModel(name, t, layout, async (model) => {
          const prompts = goldenPrompts(name);
          const rows = goldenRows(name);
          const records = rows.map(({ id, images, answers }): VprefRecord => {
            const choices = answers.map(({ text }) => text);
            return {
              id,
              images: images.map((file) => fixtureImage(name, file)),
              prompt: prompts.get(id)!,
              choices,
            };
          });
          const scored = await scoreAll(records, model);
          for (const [index, { id, answers }] of rows.entries())
            for (const [k, { text, sum }] of answers.entries())
              assertNear(scored[index]!.choice_logps![k]!, sum, `${id}: ${JSON.stringify(text)}`);
          // Greedy answers, as far as rounding cannot turn them.
          for (const [index, { id, greedy }] of rows.entries()) {
            if (greedy.min_margin <= 1e-3) continue;
            const options = { ...GREEDY, maxNewTokens: greedy.ids.length };
            const [sampled] = await stageOver(sample(options, model.context), [records[index]!]);
            assert.equal(sampled!.responses![0]!.text, greedy.text, id);
          }
          const { eos_token_id: ends } = JSON.parse(
            readFileSync(`${fixtureDir(name)}/ckpt/generation_config.json`, 'utf8'),
          );
          assert.deepEqual([...model.policy.info.eosIds].sort(), [ends].flat().sort());
        }),
    );

  if (VISION_FAMILIES.includes(name))
    test(`${name}: sums behind pictures of hard shapes`, { skip: withoutEngine }, (t) =>
      withModel(name, t, 'ckpt', async (model) => {
        const golden = readGolden<HardGolden>(`families/${name}.json`);
        const records = await Promise.all(
          golden.scored.map(async ({ width, height }): Promise<VprefRecord> => {
            const file = join(folder, `${width}x${height}.png`);
            writeFileSync(file, await encodePng(hardPicture(width, height)));
            const content = [{ type: 'image' as const }, { type: 'text' as const, text: 'What is it?' }];
            return {
              id: file,
              images: [file],
              prompt: [{ role: 'user', content }],
              chosen: golden.answer,
              rejected: 'No.',
            };
          }),
        );
        const scored = await scoreAll(records, model);
        for (const [index, { width, height, logps }] of golden.scored.entries())
          assertNear(scored[index]!.policy_chosen_logps!, logps, `${width} x ${height}`);
      }),
    );
}

interface HardGolden {
  answer: string;
  scored: { width: number; height: number; logps: number }[];
}

async function withModel(
  name: string,
  t: { skip(why: string): void },
  layout: string,
  run: (model: OpenModel) => Promise<void>,
) {
  let model: OpenModel;
  try {
    model = await openFixture(layout === 'ckpt' ? `${fixtureDir(name)}/ckpt` : savedAgain(name));
  } catch (cause) {
    // The two halves of a family come one after the other.
    if (!(cause instanceof EngineError && /model_type: expected/.test(cause.message))) throw cause;
    return t.skip(cause.message);
  }
  try {
    await run(model);
  } finally {
    await model.close();
  }
}

// The weights, with the configuration files that transformers 5 writes; the stop list is the goldens' own, of which it keeps one id.
function savedAgain(name: string): string {
  const dir = join(folder, name);
  cpSync(`${FAMILY_FIXTURES}/${name}/ckpt`, dir, { recursive: true });
  rmSync(join(dir, 'preprocessor_config.json'), { force: true });
  const isKept = (file: string) => !file.endsWith('generation_config.json');
  cpSync(`${FAMILY_FIXTURES}/${name}/alt-v5`, dir, { recursive: true, filter: isKept });
  return dir;
}

const scoreAll = (records: VprefRecord[], { context }: OpenModel) => stageOver(score(context), records);

async function stageOver(stage: Stage, records: VprefRecord[]): Promise<VprefRecord[]> {
  const rows = records.map((record, index) => ({ record, source: 'test', line: index + 1 }));
  const results = await runStage(stage, rows);
  return results.map(({ records: made, error }) => {
    if (error !== undefined) throw error.cause ?? new Error(error.message);
    return made[0]!;
  });
}

function assertNear(made: number, expected: number, what: string): void {
  assert.ok(Math.abs(made - expected) <= BAR, `${what}: ${made}, expected ${expected}`);
}
