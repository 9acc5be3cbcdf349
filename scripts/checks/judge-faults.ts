// SPDX-License-Identifier: Apache-2.0
// annotate, as a process, against a judge that fails in every way: each row must end in the expected state, without an invented score or a leaked
// key. Compares rate and memory with a run without faults, with hanging calls, and with 64 concurrent endless replies.
// usage: node --import tsx scripts/checks/judge-faults.ts [ROWS]   (10000 unless given; after make build)
import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { VprefRecord } from '../../src/records/record.ts';
import { fateOf, faultBehaviour, faultRecord, goodText, rowOf } from '../../test/support/fault-judge.ts';
import { type Behaviour, type Seen, startJudgeServer, textNumber } from '../../test/support/judge-server.ts';

const vpref = fileURLToPath(new URL('../../bin/run.js', import.meta.url));
const numRows = Number(process.argv[2] ?? 10_000);
const KEY = 'sk-stress-0123456789abcdef0123456789abcdef';
const TIMEOUT_S = 5;

interface Run {
  folder: string;
  records: VprefRecord[];
  stderr: string;
  seconds: number;
  peakMiB: number;
}

/** Peak resident memory of a process, from the kernel. */
function peakOf(child: ChildProcess): number {
  try {
    const match = /VmHWM:\s+(\d+)/.exec(readFileSync(`/proc/${child.pid}/status`, 'utf8'));
    return Number(match?.[1] ?? 0) / 1024;
  } catch {
    return 0;
  }
}

async function runAnnotate(rows: number, behave: (call: Seen) => Behaviour | Promise<Behaviour>): Promise<Run> {
  const folder = mkdtempSync(join(tmpdir(), 'vpref-judge-faults-'));
  const server = await startJudgeServer(behave, { keepCalls: false });
  const input = Array.from({ length: rows }, (_, row) => `${JSON.stringify(faultRecord(row))}\n`);
  writeFileSync(join(folder, 'in.ndjson'), input.join(''));
  const options = [
    '--judge',
    'openai:judge',
    '--base-url',
    server.base('openai'),
    '--cache',
    'cache',
    '--log',
    'log.ndjson',
  ];
  const limits = ['--timeout', String(TIMEOUT_S), '--attempts', '4', '--concurrency', '64', '-o', 'out.ndjson'];
  const started = performance.now();
  const child = spawn(process.execPath, [vpref, 'annotate', ...options, ...limits, 'in.ndjson'], {
    cwd: folder,
    env: { ...process.env, OPENAI_API_KEY: KEY },
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  let [stderr, peakMiB] = ['', 0];
  child.stderr!.on('data', (chunk: Buffer) => {
    stderr += chunk.toString();
  });
  const watch = setInterval(() => {
    peakMiB = Math.max(peakMiB, peakOf(child));
  }, 100);
  await new Promise((resolve) => child.on('close', resolve));
  clearInterval(watch);
  await server.close();
  const lines = readFileSync(join(folder, 'out.ndjson'), 'utf8').trimEnd().split('\n');
  const records = lines.map((line) => JSON.parse(line) as VprefRecord);
  return { folder, records, stderr, seconds: (performance.now() - started) / 1000, peakMiB };
}

const problems: string[] = [];

function checkStates({ records }: Run, outcomeOf: (row: number) => string): void {
  if (records.length !== numRows) problems.push(`${records.length} rows of ${numRows}`);
  for (const [row, record] of records.entries()) {
    const expected = outcomeOf(row);
    const [entry, ...more] = record.annotations ?? [];
    const about = `row ${row} (${fateOf(row).name})`;
    if (record.id !== `row-${row}` || more.length > 0)
      problems.push(`${about}: ${record.id}, ${more.length + 1} states`);
    if (entry?.outcome !== expected)
      problems.push(`${about}: ${entry?.outcome}, expected ${expected}: ${entry?.message}`);
    const scores = JSON.stringify(entry?.scores?.map((score) => score?.helpfulness));
    const right = JSON.stringify(faultRecord(row).responses!.map(({ text }) => textNumber(text, 5)));
    if (scores !== (expected === 'ok' ? right : undefined)) problems.push(`${about}: scores ${scores}`);
  }
}

/** Any 16 successive characters of the key count as a leak. */
function checkKey({ folder, stderr }: Run): void {
  const texts = [['stderr', stderr]];
  for (const file of readdirSync(folder, { recursive: true, withFileTypes: true }))
    if (file.isFile()) texts.push([file.name, readFileSync(join(file.parentPath, file.name), 'utf8')]);
  const pieces = Array.from({ length: KEY.length - 15 }, (_, at) => KEY.slice(at, at + 16));
  for (const [name, text] of texts)
    if (pieces.some((piece) => text!.includes(piece))) problems.push(`${name}: holds a piece of the key`);
}

function report(name: string, run: Run): void {
  const rate = run.records.length / run.seconds;
  console.log(
    `${name}: ${run.seconds.toFixed(1)} s, ${rate.toFixed(0)} rows per second, peak ${run.peakMiB.toFixed(0)} MiB`,
  );
}

async function withRun(name: string, running: Promise<Run>, check: (run: Run) => void): Promise<Run> {
  const run = await running;
  check(run);
  report(name, run);
  rmSync(run.folder, { recursive: true });
  return run;
}

const good = (call: Seen): Behaviour => ({ text: goodText(call) });
await withRun('no faults', runAnnotate(numRows, good), (run) => checkStates(run, () => 'ok'));
await withRun('20 % faults', runAnnotate(numRows, faultBehaviour().behave), (run) => {
  checkStates(run, (row) => fateOf(row).outcome);
  checkKey(run);
});

// A judge with 0.1 s per call, then the same with one call in a hundred that hangs until its time limit.
const slow = async (call: Seen): Promise<Behaviour> => {
  await new Promise((resolve) => setTimeout(resolve, 100));
  return good(call);
};
const plain = await withRun('0.1 s per call', runAnnotate(numRows, slow), (run) => checkStates(run, () => 'ok'));
const hangs = (call: Seen) => call.attempt === 1 && textNumber(`hang ${rowOf(call)}`, 100) === 0;
const hung = await withRun(
  '0.1 s per call, 1 % hang',
  runAnnotate(numRows, (call) => (hangs(call) ? { fault: 'trickle' } : slow(call))),
  (run) => checkStates(run, () => 'ok'),
);
// A hanging call may occupy only its own slot.
const share = 0.1 / (0.99 * 0.1 + 0.01 * (TIMEOUT_S + 0.1));
console.log(
  `rate with hanging calls: ${(plain.seconds / hung.seconds).toFixed(2)} of the other; their slots alone: ${share.toFixed(2)}`,
);

const floods = await withRun(
  '64 endless bodies at once',
  runAnnotate(64, () => ({ fault: 'flood' })),
  ({ records }) => {
    if (!records.every((record) => record.error?.code === 'transport')) problems.push('an endless body was no failure');
  },
);
if (floods.peakMiB >= 512) problems.push(`64 endless bodies took ${floods.peakMiB.toFixed(0)} MiB`);

for (const problem of problems.slice(0, 20)) console.log(`FAILED: ${problem}`);
console.log(
  problems.length === 0 ? 'one state a row, no score invented, no key anywhere' : `${problems.length} problems`,
);
process.exitCode = problems.length === 0 ? 0 : 1;
