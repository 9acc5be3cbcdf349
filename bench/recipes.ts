// SPDX-License-Identifier: Apache-2.0
// `sample` on views that are recipes, applied by the image loader, and on the same views as files: as commands, alternating. The responses must be equal, byte for byte.
//   node --import tsx bench/recipes.ts [--images 60] [--repeats 3] [--model fixtures/demo/tiny-llava]      after make build
import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { parseArgs } from 'node:util';
import { writePhoto } from './support/photo.ts';
import { compare, report, root, vpref } from './support/run.ts';

const { values: flags } = parseArgs({
  options: {
    images: { type: 'string', default: '60' },
    repeats: { type: 'string', default: '3' },
    model: { type: 'string', default: join(root, 'fixtures/demo/tiny-llava') },
  },
});
const folder = mkdtempSync(join(tmpdir(), 'vpref-recipes-'));
const at = (name: string) => join(folder, name);
const run = (...args: string[]) =>
  execFileSync(vpref[0]!, [vpref[1]!, ...args], { stdio: ['ignore', 'pipe', 'inherit'] });
const texts = (rows: string) =>
  rows
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line).responses.map(({ text }: { text: string }) => text))
    .join('\n');

try {
  mkdirSync(at('in'));
  const records = await Promise.all(
    Array.from({ length: Number(flags.images) }, async (_, index) => {
      await writePhoto(at(`in/${index}.jpg`), index);
      return { id: `r${index}`, images: [at(`in/${index}.jpg`)], prompt: 'Describe the image.' };
    }),
  );
  writeFileSync(at('in.ndjson'), records.map((record) => `${JSON.stringify(record)}\n`).join(''));
  for (const op of ['rrcrop', 'moco']) {
    run('augment', '-q', '--op', `${op}:name=v`, '--seed', '1', at('in.ndjson'), '-o', at(`${op}.recipes.ndjson`));
    run(
      'augment',
      '-q',
      '--op',
      `${op}:name=v`,
      '--seed',
      '1',
      '--image-dir',
      at(op),
      at('in.ndjson'),
      '-o',
      at(`${op}.files.ndjson`),
    );
    const sample = (views: string) => [
      'sample',
      '-q',
      '--model',
      flags.model,
      '--views',
      'v',
      '--max-new-tokens',
      '48',
      at(`${op}.${views}.ndjson`),
    ];
    if (texts(run(...sample('recipes')).toString()) !== texts(run(...sample('files')).toString()))
      throw new Error(`${op}: other answers with files`);
    const subjects = ['files', 'recipes'].map((name) => ({ name, argv: [...vpref, ...sample(name)] }));
    const [files, recipes] = await compare(subjects, Number(flags.repeats));
    report('recipes', {
      ...{ op, images: records.length, model: basename(flags.model) },
      ...{
        files_s: Number(files!.wall.toFixed(2)),
        recipes_s: Number(recipes!.wall.toFixed(2)),
        times_the_wall: Number((recipes!.wall / files!.wall).toFixed(3)),
      },
      ...{
        files_cpu_s: Number(files!.cpu.toFixed(2)),
        recipes_cpu_s: Number(recipes!.cpu.toFixed(2)),
        times_the_cpu: Number((recipes!.cpu / files!.cpu).toFixed(3)),
      },
    });
  }
} finally {
  rmSync(folder, { recursive: true });
}
