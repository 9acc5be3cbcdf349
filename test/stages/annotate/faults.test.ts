// SPDX-License-Identifier: Apache-2.0
// Rows against servers that fail in every way: each ends in the one state it must end in.
import assert from 'node:assert/strict';
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { annotateAll, annotateSettings, entryOf } from '../../support/annotate-stage.ts';
import { fateOf, faultBehaviour, faultRecord } from '../../support/fault-judge.ts';
import { type Api, startJudgeServer, textNumber } from '../../support/judge-server.ts';

/** Run with VPREF_FAULT_ROWS=10000 for the long form. */
const numRows = Number(process.env.VPREF_FAULT_ROWS ?? 600);
const rowsOf: Record<Api, number> = {
  gemini: numRows,
  openai: Math.ceil(numRows / 4),
  anthropic: Math.ceil(numRows / 4),
};

/** Good answers that do not come as the plain text that the server counts. */
const isUncounted = (name: string) => name.startsWith('thoughts, ') || name.startsWith('usage ');

for (const api of ['gemini', 'openai', 'anthropic'] as const) {
  test(`${rowsOf[api]} rows of ${api} with 20 % faults: every row in its state, no call after a success`, async (context) => {
    const cache = mkdtempSync(join(tmpdir(), 'vpref-faults-'));
    const { behave, calls, goods } = faultBehaviour();
    const server = await startJudgeServer(behave, { keepCalls: false });
    context.after(async () => {
      await server.close();
      rmSync(cache, { recursive: true });
    });
    const settings = annotateSettings(`${api}:judge`, { baseUrl: server.base(api), timeoutMs: 4000, cache });
    const records = Array.from({ length: rowsOf[api] }, (_, row) => faultRecord(row));
    const { results } = await annotateAll(records, settings);

    assert.deepEqual(
      results.map((result) => result.row.record.id),
      records.map((record) => record.id),
    );
    for (const [row, result] of results.entries()) {
      const { name, outcome } = fateOf(row);
      const entry = entryOf(result);
      assert.equal(entry.outcome, outcome, `row ${row} (${name}): ${entry.message}`);
      assert.equal(result.error?.code, outcome === 'ok' ? undefined : outcome, name);
      const expected = records[row]!.responses!.map(({ text }) => textNumber(text, 5));
      const scores = entry.scores?.map((score) => score?.helpfulness);
      assert.deepEqual(scores, outcome === 'ok' ? expected : undefined, `row ${row} (${name})`);
      assert.ok(!/test-key/.test(JSON.stringify(result)), `row ${row} (${name}) shows a key`);
      if (!isUncounted(name))
        assert.equal(goods.get(row) ?? 0, outcome === 'ok' ? 1 : 0, `good answers sent for row ${row} (${name})`);
    }

    for (const file of readdirSync(cache, { recursive: true, withFileTypes: true }))
      if (file.isFile()) assert.ok(!/test-key/.test(readFileSync(join(file.parentPath, file.name), 'utf8')), file.name);
    const before = new Map(calls);
    const again = await annotateAll(records, settings);
    const failures = records.filter((_, row) => fateOf(row).outcome !== 'ok').length;
    const asked = [...calls].filter(([row, count]) => count !== before.get(row)).map(([row]) => row);
    assert.equal(asked.length, failures, 'the cache answers what was ok; what failed is asked again');
    assert.ok(asked.every((row) => fateOf(row).outcome !== 'ok'));
    const ok = (list: typeof results) => list.filter((result) => result.error === undefined);
    assert.deepEqual(ok(again.results), ok(results), 'an answer from the cache is the answer');
  });
}
