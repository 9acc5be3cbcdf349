// SPDX-License-Identifier: Apache-2.0
// 200,000 records of about 700 bytes through data stages, jq and Miller, alternating (target: 1.5 times jq), the `ndjson`
// package against our splitter, and peak memory from 1e4 to 1e6 records (target: flat).

import { createReadStream, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { readLines, readNdjson } from '../src/records/lines.ts';
import { dataCommands, writeRecords } from './support/commands.ts';
import { compare, has, report, type Subject, vpref } from './support/run.ts';

const folder = mkdtempSync(join(tmpdir(), 'vpref-bench-'));
process.on('exit', () => rmSync(folder, { recursive: true, force: true }));

const path = await writeRecords(folder, 200_000);
const subjects: Subject[] = [
  ...dataCommands(vpref, path),
  ...(has('jq') ? [{ name: 'jq -c .', argv: ['jq', '-c', '.', path] }] : []),
  ...(has('mlr') ? [{ name: 'mlr cat', argv: ['mlr', '--ijsonl', '--ojsonl', 'cat', path] }] : []),
];
const timings = await compare(subjects, 3);
const jq = timings.find(({ name }) => name === 'jq -c .');
for (const { name, wall, cpu, peakBytes } of timings)
  report('ndjson', {
    name,
    seconds: wall,
    cpu_seconds: cpu,
    peak_mib: Math.round(peakBytes / 2 ** 20),
    ...(jq && { times_jq: Number((jq.wall / wall).toFixed(2)), times_jq_cpu: Number((jq.cpu / cpu).toFixed(2)) }),
  });

async function parseSeconds(run: () => AsyncIterable<unknown>): Promise<number> {
  const start = performance.now();
  for await (const item of run()) if (Symbol.iterator in (item as object)) for (const _ of item as Iterable<unknown>);
  return (performance.now() - start) / 1000;
}
const bytes = () => createReadStream(path, { highWaterMark: 256 * 1024 });
const [own, ndjson] = [
  await parseSeconds(() => readLines(bytes(), path)),
  await parseSeconds(() => readNdjson(bytes(), path)),
];
report('ndjson', {
  name: 'parse: own splitter, ndjson package',
  own_seconds: own,
  ndjson_seconds: ndjson,
  ratio: ndjson / own,
});
rmSync(path);

for (const numRecords of [10_000, 100_000, 1_000_000]) {
  const input = await writeRecords(folder, numRecords);
  const [timing] = await compare([{ name: 'pair', argv: [...vpref, 'pair', '-q', '--rule', 'seva', input] }], 1);
  report('ndjson', {
    name: 'memory of vpref pair',
    records: numRecords,
    peak_mib: Math.round(timing!.peakBytes / 2 ** 20),
  });
  rmSync(input);
}
