// SPDX-License-Identifier: Apache-2.0
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { attemptCost, Budget, BudgetSpent, costOf, judgePrice, loadPrices } from '../../../src/stages/annotate/cost.ts';

test('a price is of its name and its dated forms, the user before the list, local judges are free', () => {
  assert.deepEqual(judgePrice('gemini:gemini-2.5-flash-lite-001'), { input: 0.1, output: 0.4 });
  assert.deepEqual(judgePrice('gemini:gemini-2.5-flash'), { input: 0.3, output: 2.5 });
  const own = { 'gemini:gemini-2.5-flash': { input: 7, output: 8 } };
  assert.deepEqual(judgePrice('gemini:gemini-2.5-flash', own), { input: 7, output: 8 });
  assert.deepEqual(judgePrice('gemini:gemini-2.5-flash-lite', own), { input: 0.1, output: 0.4 });
  for (const name of ['gpt-4o-2024-08-06', 'gpt-4o-latest', 'gpt-4o'])
    assert.deepEqual(judgePrice(`openai:${name}`), { input: 2.5, output: 10 }, name);
  assert.deepEqual(judgePrice('openai:gpt-4o-2024-05-13'), { input: 5, output: 15 });
  assert.deepEqual(judgePrice('openai:o1-pro'), { input: 150, output: 600 });
  assert.deepEqual(judgePrice('openai:gpt-4-0613'), { input: 30, output: 60 });
  assert.deepEqual(judgePrice('anthropic:claude-opus-4-20250514'), { input: 15, output: 75 });
  for (const name of [
    'openai:gpt-5.5',
    'openai:gpt-4.5-preview',
    'openai:gpt-4o-audio-preview',
    'openai:o3-deep-research',
  ])
    assert.equal(judgePrice(name), undefined, name);
  assert.equal(judgePrice('anthropic:claude-opus-4-7') ?? judgePrice('gemini:gemini-3-flash-preview'), undefined);
  assert.equal(judgePrice('openai:my-own-model'), undefined);
  assert.deepEqual(judgePrice('exec:./judge'), { input: 0, output: 0 });
  assert.equal(costOf({ input: 2, output: 10 }, { input_tokens: 500_000, output_tokens: 100_000 }), 2);
});

test('a price file is checked', (context) => {
  const folder = mkdtempSync(join(tmpdir(), 'vpref-prices-'));
  context.after(() => rmSync(folder, { recursive: true }));
  const file = join(folder, 'p.json');
  const load = (text: string) => {
    writeFileSync(file, text);
    return loadPrices(file);
  };
  assert.deepEqual(load('{"openai:x":{"input":1,"output":2}}'), { 'openai:x': { input: 1, output: 2 } });
  for (const text of ['{', '[]', '{"a":1}', '{"a":{"input":1}}', '{"a":{"input":-1,"output":1}}', '{"a":null}']) {
    assert.throws(() => load(text), /--prices: /, text);
  }
  assert.throws(() => loadPrices(join(folder, 'none')), /--prices: .*ENOENT/);
});

test('the budget is never passed, however calls overlap', async () => {
  const budget = new Budget(10);
  let most = 0;
  let refused = 0;
  const call = async (cost: number) => {
    try {
      await budget.reserve(3);
    } catch (cause) {
      assert.ok(cause instanceof BudgetSpent);
      refused += 1;
      return;
    }
    await new Promise((resolve) => setImmediate(resolve));
    budget.settle(3, cost);
    most = Math.max(most, budget.spent);
  };
  await Promise.all(Array.from({ length: 20 }, () => call(1)));
  // A call may cost 3: after 8 that cost 1 each a further one could end at 11.
  assert.deepEqual([budget.spent, most, refused], [8, 8, 12]);
});

test('a call that can never fit is refused at once', async () => {
  await assert.rejects(new Budget(1).reserve(1.5), /0\.0000 USD spent, and the next request may cost 1\.5000/);
});

test('what nobody counted costs the most it can; what was never worked on costs nothing', () => {
  const price = { input: 1, output: 1 };
  const text = 'x';
  assert.equal(attemptCost(price, { outcome: 'ok', text, usage: { input_tokens: 1e6, output_tokens: 1e6 } }, 9), 2);
  assert.equal(attemptCost(price, { outcome: 'ok', text }, 9), 9);
  assert.equal(attemptCost(price, { outcome: 'truncated', text }, 9), 9);
  assert.equal(attemptCost(price, { outcome: 'transport', text, brokeOff: true }, 9), 9);
  assert.equal(attemptCost(price, { outcome: 'rate-limited', text }, 9), 0);
});
