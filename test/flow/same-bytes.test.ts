// SPDX-License-Identifier: Apache-2.0
// The promise of equal bytes on the CPU, through the real binary: what a record gets does not depend on the records around it.
// Covers src/flow/same-batches.ts src/flow/in-flight.ts
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { demoModel, demoPairs, demoPrompts, toNdjson } from '../support/demo-pairs.ts';
import { withoutEngine } from '../support/native.ts';
import { runCli, temporaryFolder } from '../support/run-cli.ts';

const PROMPTS = demoPrompts(26);
const PAIRS = demoPairs(18);
const CASES: [string, string[], object[]][] = [
  ['samples', ['sample', '-n', '3', '--temperature', '0.9', '--logps', '--max-new-tokens', '12'], PROMPTS],
  ['beams', ['sample', '--beams', '3', '--logps', '--max-new-tokens', '12'], PROMPTS],
  ['score', ['score'], PAIRS],
  ['precompute-ref', ['precompute-ref'], PAIRS],
];

async function run(args: string[], records: object[]): Promise<string[]> {
  const { code, stdout, stderr } = await runCli([...args, '--model', demoModel, '--device', 'cpu', '-q'], {
    input: toNdjson(records),
  });
  assert.deepEqual({ code, stderr }, { code: 0, stderr: '' });
  return stdout.split('\n').filter(Boolean);
}

for (const [name, args, records] of CASES)
  test(`${name}: order, neighbours, shards, batches, threads and resuming change no byte`, {
    skip: withoutEngine,
  }, async () => {
    const whole = await run(args, records);
    assert.equal(whole.length, records.length);
    assert.deepEqual((await run(args, records.toReversed())).reverse(), whole, 'order');
    assert.deepEqual(await run(args, records.slice(0, 1)), whole.slice(0, 1), 'alone');
    const shards = [await run([...args, '--shard', '0/2'], records), await run([...args, '--shard', '1/2'], records)];
    assert.deepEqual(
      shards[0],
      whole.filter((_, n) => n % 2 === 0),
      'shards',
    );
    assert.deepEqual(
      shards[1],
      whole.filter((_, n) => n % 2 === 1),
      'shards',
    );
    assert.deepEqual(await run([...args, '--batch-tokens', '200', '--threads', '1'], records), whole, 'batches');
    const path = join(temporaryFolder('same-bytes'), 'out.ndjson');
    await run([...args, '--limit', '7', '-o', path], records);
    await run([...args, '--resume', '-o', path], records);
    assert.equal(readFileSync(path, 'utf8'), `${whole.join('\n')}\n`, 'resumed');
  });
