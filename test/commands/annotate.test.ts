// SPDX-License-Identifier: Apache-2.0
// Covers src/cli/annotate-options.ts
// The command as a process: killed and resumed, stopped by signals and by fatal failures, and what it says.
import assert from 'node:assert/strict';
import type { ChildProcess } from 'node:child_process';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import type { VprefRecord } from '../../src/records/record.ts';
import { fateOf, faultBehaviour, faultRecord } from '../support/fault-judge.ts';
import {
  type Behaviour,
  helpsteerReply,
  type JudgeServer,
  type Seen,
  startJudgeServer,
  textNumber,
} from '../support/judge-server.ts';
import { type CliResult, collect, spawnCli } from '../support/run-cli.ts';

/** Starts `vpref annotate` with these arguments. */
function start(args: string[], env: Record<string, string> = {}): { child: ChildProcess; ended: Promise<CliResult> } {
  const child = spawnCli(['annotate', ...args], { env: { OPENAI_API_KEY: 'sk-secret-secret', ...env } });
  child.stdin!.end();
  return { child, ended: collect(child) };
}

/** A folder and a server for one test. */
async function setUp(context: TestContext, behave: (call: Seen) => Behaviour | Promise<Behaviour>) {
  const folder = mkdtempSync(join(tmpdir(), 'vpref-annotate-'));
  const server = await startJudgeServer(behave);
  context.after(async () => {
    await server.close();
    rmSync(folder, { recursive: true });
  });
  const input = (records: VprefRecord[]) => {
    const file = join(folder, 'in.ndjson');
    writeFileSync(file, records.map((record) => `${JSON.stringify(record)}\n`).join(''));
    return file;
  };
  return { folder, server, input };
}

const toServer = (server: JudgeServer) => ['--judge', 'openai:judge', '--base-url', server.base('openai')];
const plainJudge = (call: Seen): Behaviour => ({ text: helpsteerReply(call.prompt, (text) => textNumber(text, 5)) });
const records = (count: number) => Array.from({ length: count }, (_, row) => faultRecord(row));

/** Ids of rows whose answers the cache holds: the judge writes them into its own answer. */
function cachedRows(cache: string): Set<string> {
  const rows = new Set<string>();
  if (!existsSync(cache)) return rows;
  for (const part of readdirSync(cache)) {
    for (const file of readdirSync(join(cache, part)).filter((name) => name.endsWith('.json'))) {
      const { attempt } = JSON.parse(readFileSync(join(cache, part, file), 'utf8'));
      // Replies are kept as they came: some reason first, some are fenced.
      rows.add(/"own_response": ?"([^"]*)"/.exec(attempt.text)![1]!);
    }
  }
  return rows;
}

test('killed repeatedly and resumed, it equals an uninterrupted run, and no answered question is asked again', async (context) => {
  // The long form: VPREF_FAULT_ROWS=10000 VPREF_KILLS=50.
  const numRows = Number(process.env.VPREF_FAULT_ROWS ?? 600);
  const kills = Number(process.env.VPREF_KILLS ?? 10);
  const faults = faultBehaviour();
  let callsLeft = Number.POSITIVE_INFINITY;
  let victim: ChildProcess | undefined;
  const { folder, server, input } = await setUp(context, (call) => {
    if (--callsLeft === 0) victim?.kill('SIGKILL');
    return faults.behave(call);
  });
  const file = input(records(numRows));
  const flags = [...toServer(server), '--timeout', '5', '--attempts', '3', '--concurrency', '16', '-q'];
  const run = (name: string, more: string[] = []) =>
    start([file, ...flags, '--cache', join(folder, `cache-${name}`), '-o', join(folder, `${name}.ndjson`), ...more]);

  const straight = await run('straight').ended;
  assert.equal(straight.code, 3, straight.stderr);
  faults.calls.clear();
  faults.goods.clear();

  let answered = new Set<string>();
  for (let kill = 1; kill <= kills; kill += 1) {
    const before = new Map(faults.calls);
    callsLeft = Math.ceil(numRows / (kills + 2));
    const { child, ended } = run('killed', ['--resume']);
    victim = child;
    const { code, stderr } = await ended;
    assert.equal(code, 128 + 9, stderr);
    for (const [row, count] of faults.calls) {
      if (count !== before.get(row))
        assert.ok(!answered.has(`row-${row}`), `row ${row} was asked again after its answer was kept`);
    }
    answered = cachedRows(join(folder, 'cache-killed'));
  }
  callsLeft = Number.POSITIVE_INFINITY;
  const last = await run('killed', ['--resume']).ended;
  assert.equal(last.code, 3, last.stderr);
  assert.ok(
    answered.size > numRows / 4 && answered.size < numRows,
    `${answered.size} rows were done before the last start`,
  );
  const [expected, got] = ['straight', 'killed'].map((name) => readFileSync(join(folder, `${name}.ndjson`), 'utf8'));
  assert.equal(got, expected);
  for (const [row, goods] of faults.goods) {
    const lost = goods - (fateOf(row).outcome === 'ok' ? 1 : 0);
    assert.ok(lost <= kills, `row ${row}`);
  }
});

test('SIGTERM: finished rows are saved, exit 75, and --resume continues', async (context) => {
  let running: ChildProcess | undefined;
  let calls = 0;
  const { folder, server, input } = await setUp(context, (call) => {
    if (++calls === 40) running?.kill('SIGTERM');
    return plainJudge(call);
  });
  const out = join(folder, 'out.ndjson');
  const args = [input(records(120)), ...toServer(server), '--concurrency', '4', '-o', out, '--no-cache'];
  const first = start(args);
  running = first.child;
  const stopped = await first.ended;
  assert.equal(stopped.code, 75, stopped.stderr);
  const saved = readFileSync(`${out}.partial`, 'utf8').split('\n').filter(Boolean).length;
  assert.ok(saved > 0 && saved < 120, `${saved} rows`);
  const resumed = await start([...args, '--resume']).ended;
  assert.equal(resumed.code, 0, resumed.stderr);
  const ids = readFileSync(out, 'utf8')
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line).id);
  assert.deepEqual(
    ids,
    records(120).map((record) => record.id),
  );
});

test('a wrong key stops at once, with exit 1, the rows before it on disk and no key in any message', async (context) => {
  let calls = 0;
  const { folder, server, input } = await setUp(context, (call) => {
    if (++calls <= 20) return plainJudge(call);
    const message = `Incorrect API key provided: ${call.headers.authorization?.replace('Bearer ', '')}`;
    return { status: 401, json: { error: { message, code: 'invalid_api_key' } } };
  });
  const out = join(folder, 'out.ndjson');
  const log = join(folder, 'log.ndjson');
  const cache = join(folder, 'cache');
  const ended = await start([
    input(records(200)),
    ...toServer(server),
    '--concurrency',
    '1',
    '-o',
    out,
    '--log',
    log,
    '--cache',
    cache,
  ]).ended;
  assert.equal(ended.code, 1, ended.stderr);
  assert.match(ended.stderr, /openai:judge: auth: status 401: Incorrect API key provided: \*\*\*/);
  assert.equal(calls, 21);
  const saved = readFileSync(`${out}.partial`, 'utf8').trim().split('\n');
  assert.deepEqual(
    saved.map((line) => JSON.parse(line).id),
    records(20).map((record) => record.id),
  );
  const written = [ended.stderr, ended.stdout, saved.join(), readFileSync(log, 'utf8')].join();
  assert.doesNotMatch(written, /sk-secret/);
});

test('--max-cost is never exceeded, and the error names the money spent; a larger one with --resume finishes', async (context) => {
  const { folder, server, input } = await setUp(context, plainJudge);
  const prices = join(folder, 'prices.json');
  // 100 input and 20 output tokens a call as the server counts: 0.0014 USD; at most 400 + 100 tokens: 0.009 USD.
  writeFileSync(prices, '{"openai:judge": {"input": 10, "output": 20}}');
  const out = join(folder, 'out.ndjson');
  const args = [
    input(records(60)),
    ...toServer(server),
    '--prices',
    prices,
    '--max-tokens',
    '100',
    '-o',
    out,
    '--no-cache',
  ];
  const poor = await start([...args, '--max-cost', '0.05']).ended;
  assert.equal(poor.code, 1, poor.stderr);
  assert.match(poor.stderr, /--max-cost 0\.05: 0\.0\d+ USD spent/);
  const paid = server.calls.length * 0.0014;
  assert.ok(paid <= 0.05 && paid > 0.03, `${paid} USD`);
  const rich = await start([...args, '--max-cost', '5', '--resume']).ended;
  assert.equal(rich.code, 0, rich.stderr);
  assert.equal(readFileSync(out, 'utf8').trim().split('\n').length, 60);
  const unknown = await start([input(records(1)), ...toServer(server), '--max-cost', '1']).ended;
  assert.deepEqual([unknown.code, unknown.stdout], [2, '']);
  assert.match(unknown.stderr, /no price is known for openai:judge: give --prices FILE/);
});

test('--dry-run sends nothing, needs no key, and the run stays within its estimate', async (context) => {
  const { folder, server, input } = await setUp(context, plainJudge);
  const file = input(records(30));
  const dry = await start([file, '--judge', 'openai:gpt-4o', '--dry-run', '--no-cache'], { OPENAI_API_KEY: '' }).ended;
  assert.equal(dry.code, 0, dry.stderr);
  const said = JSON.parse(dry.stdout);
  assert.deepEqual([said.calls, said.questions, said.max_output_tokens, said.bad_rows], [30, 30, 30 * 4096, 0]);
  const most = (said.input_tokens * 2.5 + said.max_output_tokens * 10) / 1e6;
  assert.ok(Math.abs(said.max_cost_usd / most - 1) < 1e-5);
  assert.equal(server.calls.length, 0);
  const cache = join(folder, 'cache');
  await start([file, ...toServer(server), '--limit', '10', '--cache', cache]).ended;
  const rest = await start([file, ...toServer(server), '--dry-run', '--cache', cache]).ended;
  const { calls, cached } = JSON.parse(rest.stdout);
  assert.deepEqual([calls, cached], [20, 10]);
});

test('shards together are the whole, and share the cache with it', async (context) => {
  const { folder, server, input } = await setUp(context, plainJudge);
  const args = [input(records(40)), ...toServer(server), '--cache', join(folder, 'cache')];
  const [even, odd] = await Promise.all([
    start([...args, '--shard', '0/2']).ended,
    start([...args, '--shard', '1/2']).ended,
  ]);
  assert.equal(server.calls.length, 40);
  const whole = await start(args).ended;
  assert.equal(server.calls.length, 40, 'every answer came from the cache');
  const byId = (text: string) => text.trim().split('\n').sort();
  assert.deepEqual(byId(even.stdout + odd.stdout), byId(whole.stdout));
});

test('a reader that stops ends the run quietly', async (context) => {
  const { server, input } = await setUp(context, plainJudge);
  const { child, ended } = start([input(records(400)), ...toServer(server), '--no-cache']);
  child.stdout!.once('data', () => child.stdout!.destroy());
  const { code, stderr } = await ended;
  assert.deepEqual([code, stderr], [141, '']);
});
