// SPDX-License-Identifier: Apache-2.0
// Records per second of `augment` without image files, then images per second on 640x480 JPEGs, decode to PNG on disk, on all cores. With --python PYTHON the same with torchvision and
// Pillow (bench/augment.py) in the same run, at Pillow's default PNG level and at its fastest.
//   node --import tsx bench/augment.ts [--images 200] [--rounds 3] [--python PYTHON] [--out bench/results/augment.ndjson] [--only recipes]
import { execFileSync } from 'node:child_process';
import { appendFileSync, mkdirSync, mkdtempSync, readdirSync, rmSync, statSync } from 'node:fs';
import { availableParallelism, cpus, loadavg, tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import type { Row } from '../src/flow/stage.ts';
import { createPixelPool } from '../src/pixels/pool.ts';
import { augment } from '../src/stages/augment/index.ts';
import { parseViewSpecs } from '../src/stages/augment/view-spec.ts';
import { writePhoto } from './support/photo.ts';

/** cpu_ms_per_image is meaningful on a busy machine too: an idle one makes cores * 1000 / cpu_ms_per_image images per second. */
interface Result {
  images_per_second: number;
  cpu_ms_per_image: number;
  bytes: number;
}

const { values: flags } = parseArgs({
  options: {
    images: { type: 'string', default: '200' },
    rounds: { type: 'string', default: '3' },
    python: { type: 'string' },
    out: { type: 'string' },
    only: { type: 'string' },
  },
});
const numImages = Number(flags.images);
const threads = availableParallelism();
const work = mkdtempSync(join(tmpdir(), 'vpref-bench-'));
const source = join(work, 'in');
mkdirSync(source);

async function ours(recipe: string): Promise<Result> {
  const imageDir = mkdtempSync(join(work, 'ours-'));
  const names = readdirSync(source).sort();
  async function* rows(): AsyncGenerator<Row> {
    for (const [i, name] of names.entries()) {
      yield { record: { id: name, images: [join(source, name)], prompt: 'p' }, source: 'bench', line: i + 1 };
    }
  }
  const pool = createPixelPool(threads);
  const warmed = { ...pool, close: async () => {} };
  const run = async (dir: string) => {
    const stage = augment({ views: parseViewSpecs([recipe]), seed: 1, imageDir: dir, createPool: () => warmed });
    for await (const { error } of stage(rows())) if (error) throw new Error(error.message);
  };
  await run(mkdtempSync(join(work, 'warm-')));
  const start = performance.now();
  const before = process.cpuUsage();
  await run(imageDir);
  const seconds = (performance.now() - start) / 1000;
  const { user, system } = process.cpuUsage(before);
  await pool.close();
  const sizes = readdirSync(imageDir).map((name) => statSync(join(imageDir, name)).size);
  const bytes = Math.floor(sizes.reduce((sum, size) => sum + size, 0) / sizes.length);
  return {
    images_per_second: tenths(numImages / seconds),
    cpu_ms_per_image: tenths((user + system) / 1000 / numImages),
    bytes,
  };
}

/** Records per second of `augment` without files: operations drawn from the headers. */
async function recipesOnly(recipe: string): Promise<{ records_per_second: number; cpu_us_per_record: number }> {
  const names = readdirSync(source).sort();
  const numRecords = numImages * 50;
  async function* rows(): AsyncGenerator<Row> {
    for (let i = 0; i < numRecords; i++)
      yield {
        record: { id: `${i}`, images: [join(source, names[i % numImages]!)], prompt: 'p' },
        source: 'b',
        line: i,
      };
  }
  const stage = augment({ views: parseViewSpecs([recipe]), seed: 1, createPool: () => createPixelPool(1) });
  const [start, before] = [performance.now(), process.cpuUsage()];
  for await (const { error } of stage(rows())) if (error) throw new Error(error.message);
  const seconds = (performance.now() - start) / 1000;
  const { user, system } = process.cpuUsage(before);
  return { records_per_second: tenths(numRecords / seconds), cpu_us_per_record: tenths((user + system) / numRecords) };
}

function torchvision(recipe: string, level: number): Result {
  const out = mkdtempSync(join(work, 'torchvision-'));
  const script = new URL('augment.py', import.meta.url).pathname;
  return JSON.parse(
    execFileSync(flags.python!, [script, source, out, recipe, String(level), String(threads)], { encoding: 'utf8' }),
  );
}

const tenths = (value: number) => Math.round(value * 10) / 10;
const median = (values: number[]) => [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)]!;

try {
  for (let i = 0; i < numImages; i++) await writePhoto(join(source, `${String(i).padStart(4, '0')}.jpg`), i);
  const commit = execFileSync('git', ['rev-parse', '--short', 'HEAD'], { encoding: 'utf8' }).trim();
  for (const recipe of ['rrcrop', 'moco', 'diffusion']) {
    await recipesOnly(recipe);
    const row = { bench: 'augment', task: 'recipes', recipe, ...(await recipesOnly(recipe)), threads };
    const line = JSON.stringify({ ...row, load_average: tenths(loadavg()[0]!), node: process.version, commit });
    console.log(line);
    if (flags.out) appendFileSync(flags.out, `${line}\n`);
  }
  for (const recipe of flags.only === 'recipes' ? [] : ['flip', 'rrcrop', 'autoaugment', 'moco']) {
    const runs: Record<string, Result[]> = {};
    for (let round = 0; round < Number(flags.rounds); round++) {
      const add = (name: string, result: Result) => {
        runs[name] ??= [];
        runs[name].push(result);
      };
      add('vpref', await ours(recipe));
      if (flags.python) for (const level of [6, 1]) add(`torchvision, PNG level ${level}`, torchvision(recipe, level));
    }
    for (const [tool, results] of Object.entries(runs)) {
      const middle = (key: keyof Result) => median(results.map((result) => result[key]));
      const row = {
        bench: 'augment',
        recipe,
        tool,
        images_per_second: middle('images_per_second'),
        cpu_ms_per_image: middle('cpu_ms_per_image'),
        png_bytes: middle('bytes'),
        images: numImages,
        threads,
        load_average: tenths(loadavg()[0]!),
        node: process.version,
        cpu: cpus()[0]!.model,
        commit,
      };
      console.log(JSON.stringify(row));
      if (flags.out) appendFileSync(flags.out, `${JSON.stringify(row)}\n`);
    }
  }
} finally {
  rmSync(work, { recursive: true, force: true });
}
