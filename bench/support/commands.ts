// SPDX-License-Identifier: Apache-2.0
// Commands that several benches time, and their input.
import { once } from 'node:events';
import { createWriteStream } from 'node:fs';
import { join } from 'node:path';
import type { Subject } from './run.ts';

/** Commands without work: what a start costs. */
export const idleCommands = (vpref: string[]): Subject[] => [
  { name: 'vpref --version', argv: [...vpref, '--version'] },
  { name: 'vpref pair', argv: [...vpref, 'pair', '--rule', 'seva'] },
  { name: 'vpref augment', argv: [...vpref, 'augment', '--op', 'diffusion:step=800'] },
  { name: 'vpref export trl', argv: [...vpref, 'export', 'trl'] },
  { name: 'vpref import --help', argv: [...vpref, 'import', '--help'] },
];

/** Data stages over the records of a file. */
export const dataCommands = (vpref: string[], path: string): Subject[] => [
  { name: 'vpref pair', argv: [...vpref, 'pair', '-q', '--rule', 'seva', path] },
  { name: 'vpref export trl', argv: [...vpref, 'export', 'trl', '-q', path] },
  { name: 'vpref augment (recipe)', argv: [...vpref, 'augment', '-q', '--op', 'diffusion:step=800', path] },
];

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

/** A file of records of about 700 bytes. */
export async function writeRecords(folder: string, numRecords: number): Promise<string> {
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
