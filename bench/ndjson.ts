// SPDX-License-Identifier: Apache-2.0
// 200,000 records of about 700 bytes through data stages, jq and Miller, alternating (target: 1.5 times jq), the `ndjson`
// package against our splitter, and peak memory from 1e4 to 1e6 records (target: flat).

import { once } from 'node:events';
import { createReadStream, createWriteStream, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { readLines, readNdjson } from '../src/records/lines.ts';
import { compare, has, report, type Subject, vpref } from './support/run.ts';

const folder = mkdtempSync(join(tmpdir(), 'vpref-bench-'));
process.on('exit', () => rmSync(folder, { recursive: true, force: true }));

function record(index: number): object {
  const responses = [
    {
      text: `A grey cat sits on a sofa next to a lamp and looks at window ${index % 97}. `.repeat(2),
      view: 'original',
    },
    { text: `A dog runs past ${index % 89} trees. `.repeat(4), view: 'diffusion' },
  ].map((response, k) => ({
    ...response,
    logps: -12.34567 - index / 1e5 - k,
    num_tokens: 31,
    finish_reason: 'stop',
    seed: k,
  }));
  return {
    id: `llava665k-${index}`,
    images: [`/data/coco/train2017/${String(index).padStart(12, '0')}.jpg`],
    prompt: `What is shown in picture number ${index}? Answer in one sentence.`,
    source: 'llava665k/textvqa',
    responses,
    chosen: responses[0]!.text,
    rejected: responses[1]!.text,
    pair: { rule: 'seva' },
  };
}

async function write(numRecords: number): Promise<string> {
  const path = join(folder, `${numRecords}.ndjson`);
  const file = createWriteStream(path);
  for (let index = 0; index < numRecords; index += 1000) {
    const lines = Array.from(
      { length: Math.min(1000, numRecords - index) },
      (_, k) => `${JSON.stringify(record(index + k))}\n`,
    );
    if (!file.write(lines.join(''))) await once(file, 'drain');
  }
  file.end();
  await once(file, 'close');
  return path;
}

const path = await write(200_000);
const subjects: Subject[] = [
  { name: 'vpref pair', argv: [...vpref, 'pair', '-q', '--rule', 'seva', path] },
  { name: 'vpref export trl', argv: [...vpref, 'export', 'trl', '-q', path] },
  { name: 'vpref augment (recipe)', argv: [...vpref, 'augment', '-q', '--op', 'diffusion:step=800', path] },
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
  const input = await write(numRecords);
  const [timing] = await compare([{ name: 'pair', argv: [...vpref, 'pair', '-q', '--rule', 'seva', input] }], 1);
  report('ndjson', {
    name: 'memory of vpref pair',
    records: numRecords,
    peak_mib: Math.round(timing!.peakBytes / 2 ** 20),
  });
  rmSync(input);
}
