// SPDX-License-Identifier: Apache-2.0
// --dtype bf16 on the CPU against transformers in float32 (scripts/goldens/e2e.py): a band, because random weights amplify bf16's rounding,
// and a bound on the mean signed difference, because rounding has no bias and a mistake has.
// Covers src/engine/policy.ts src/stages/score.ts src/stages/sample.ts
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { loadImages, preparePrompt } from '../../src/model/prompt.ts';
import type { VprefRecord } from '../../src/records/record.ts';
import type { Turn } from '../../src/text/chat-template.ts';
import { promptTurns } from '../../src/text/chat-template.ts';
import { responseIds } from '../../src/text/prompt-ids.ts';
import { LLAVA_MARKS } from '../support/fake-engine.ts';
import { openFixture, withoutEngine } from '../support/native.ts';
import { runCli } from '../support/run-cli.ts';

interface Case {
  name: string;
  mode: 'pad' | 'crop';
  prompt: VprefRecord['prompt'];
  images: string[];
  responses: { text: string; logps: number[]; sum: number }[];
}

const MODELS = ['tiny-mha', 'tiny-gqa', 'tiny-llama3', 'tiny-text', 'demo'];

function casesOf(name: string): { checkpoint: string; cases: Case[] } {
  return JSON.parse(readFileSync(`fixtures/golden/e2e/${name}.json`, 'utf8'));
}

function mean(values: number[]): number {
  return values.reduce((sum, value) => sum + value, 0) / values.length;
}

for (const name of MODELS) {
  const { checkpoint, cases } = casesOf(name);

  test(`${name}: token log-probabilities in bf16`, { skip: withoutEngine }, async () => {
    const { context, policy, close } = await openFixture(checkpoint, { dtype: 'bf16' });
    try {
      assert.equal(policy.info.dtype, 'bf16');
      const differences: number[] = [];
      for (const one of cases) {
        const plan = {
          template: await context.loadTemplate('auto'),
          ...(context.vision && { images: { ...context.vision.plan, mode: one.mode } }),
        };
        const row = { record: { id: 'x', prompt: one.prompt }, source: 'golden', line: 1 };
        const images = await loadImages(row, { images: one.images }, plan, context);
        const { prompt, promptIds } = preparePrompt(
          promptTurns(one.prompt, images.length, LLAVA_MARKS) as Turn[],
          images,
          plan,
          context,
        );
        const branches = one.responses.map(({ text }) =>
          responseIds(prompt, text, context.tokenizer, context.vision?.tokens),
        );
        const scored = await policy.score({ promptIds, images, branches });
        for (const [k, { logps }] of one.responses.entries())
          differences.push(...logps.map((expected, t) => scored[k]![t]! - expected));
      }
      assert.ok(Math.max(...differences.map(Math.abs)) <= 1.5);
      assert.ok(mean(differences.map(Math.abs)) <= 0.15);
      assert.ok(Math.abs(mean(differences)) <= 0.03, `bias ${mean(differences)}`);
    } finally {
      await close();
    }
  });

  test(`${name}: score --dtype bf16 gives sums in the band, sample --dtype bf16 answers that score agrees with`, {
    skip: withoutEngine,
  }, async () => {
    const some = cases.filter(({ mode }) => mode === 'pad').slice(0, 12);
    const records = some.map(({ prompt, images, responses }, i) => ({
      ...{ id: `c${i}`, prompt, images },
      choices: responses.map(({ text }) => text),
    }));
    const input = records.map((record) => `${JSON.stringify(record)}\n`).join('');
    const model = ['--model', checkpoint, '--dtype', 'bf16', '-q'];
    const sampled = await runCli(
      ['sample', ...model, '-n', '2', '--temperature', '1', '--logps', '--max-new-tokens', '40'],
      {
        input,
      },
    );
    assert.deepEqual([sampled.code, sampled.stderr], [0, '']);
    const scored = await runCli(['score', ...model], { input: sampled.stdout });
    assert.deepEqual([scored.code, scored.stderr], [0, '']);
    const rowsOf = (text: string): VprefRecord[] =>
      text
        .trim()
        .split('\n')
        .map((line) => JSON.parse(line));
    const [before, after] = [rowsOf(sampled.stdout), rowsOf(scored.stdout)];
    const agreement: number[] = [];
    for (const [i, record] of after.entries()) {
      assert.equal(record.sampling!.dtype, 'bf16');
      for (const [k, { sum }] of some[i]!.responses.entries())
        assert.ok(Math.abs(record.choice_logps![k]! - sum) <= 3, `${some[i]!.name}, choice ${k}`);
      for (const [k, response] of record.responses!.entries()) {
        // The text of a cut answer may tokenise otherwise than it was drawn.
        const drawn = before[i]!.responses![k]!;
        if (drawn.finish_reason === 'stop' && drawn.num_tokens === response.num_tokens)
          agreement.push(Math.abs(response.logps! - drawn.logps!));
      }
    }
    // Random weights seldom end an answer; the trained ones do.
    if (name === 'demo') assert.ok(agreement.length >= 12);
    for (const difference of agreement) assert.ok(difference <= 3, `sample and score differ by ${difference}`);
  });
}
