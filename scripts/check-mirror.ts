// SPDX-License-Identifier: Apache-2.0
// Checks that every source has a test: the twin of its name (src/stages/pair.ts -> test/stages/pair.test.ts, native/ops/gemm.cc ->
// test/native/ops/gemm_test.cc), the twin of its folder, a test that imports it, or imports what uses it within its folder,
// or says "// Covers PATH..." in its head; a command is tested by case folders or by name, a stage's inner
// files also through its command, the addon by the engine's tests. Prints sources without a test.
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('..', import.meta.url));

function listFiles(folder: string, extension: RegExp): string[] {
  if (!existsSync(join(root, folder))) return [];
  return readdirSync(join(root, folder), { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile() && extension.test(entry.name))
    .map((entry) => join(entry.parentPath, entry.name).slice(root.length));
}

const read = (path: string) => readFileSync(join(root, path), 'utf8');

const declared = new Set<string>();
/** Verbs that tests run by name. */
const named = new Set<string>();
const problems: string[] = [];
for (const test of listFiles('test', /(\.test\.ts|_test\.cc|_test\.cu|\.h)$/)) {
  for (const [, imported] of read(test).matchAll(/(?:from|import\() ?'([./]+\/(?:src|families)\/[^']+\.ts)'/g))
    declared.add(join(dirname(test), imported!));
  for (const [, verb] of read(test).matchAll(/\[\s*'([a-z-]+)'|vpref ([a-z-]+)/g)) if (verb) named.add(verb);
  for (const [, header] of read(test).matchAll(/#include "([^"]+)\.(?:h|cuh)"/g))
    for (const extension of ['cc', 'cu']) declared.add(`native/${header}.${extension}`);
  for (const line of read(test)
    .slice(0, 4000)
    .match(/^\/\/ Covers .*(?:\n\/\/(?: [\w./-]+\.(?:ts|cc|cu|h),?)+$)*/gm) ?? [])
    for (const source of line
      .slice('// Covers '.length)
      .split(/\n\/\/|[\s,]+/)
      .filter(Boolean)) {
      declared.add(source);
      if (!existsSync(join(root, source))) problems.push(`${test}: covers ${source}, which does not exist`);
    }
}

// A folder's internal files are tested through the file that others import.
for (const source of declared)
  if (/^(src|families)\//.test(source) && existsSync(join(root, source)))
    for (const [, imported] of read(source).matchAll(/(?:from|import\() ?'(\.[^']+\.ts)'/g)) {
      const inner = join(dirname(source), imported!);
      if (inner.startsWith(`${dirname(source)}/`) && dirname(source).split('/').length > 2) declared.add(inner);
    }

// The same for C++: the test of infer/engine.h also covers the internal files of infer/.
for (const source of declared) {
  const stem = /^native\/(.+)\.(?:cc|cu)$/.exec(source)?.[1];
  if (stem === undefined) continue;
  const level = stem.split('/')[0]!;
  for (const extension of ['h', 'cc']) {
    const path = `native/${stem}.${extension}`;
    if (!existsSync(join(root, path))) continue;
    for (const [, header] of read(path).matchAll(/#include "([^"]+)\.h"/g))
      if (header!.startsWith(`${level}/`)) declared.add(`native/${header}.cc`);
    // A backend's file is tested through the op of its name, and shared kernels through these files.
    if (level === 'ops')
      for (const file of [`cpu/${stem.slice(4)}.cc`, `cuda/${stem.slice(4)}.cu`])
        declared.add(`native/backend/${file}`);
  }
}

function hasTest(source: string): boolean {
  if (declared.has(source)) return true;
  const command = /^src\/commands\/(.+)\.ts$/.exec(source)?.[1];
  if (command !== undefined && (existsSync(join(root, 'test/cases', command)) || named.has(command))) return true;
  const verb = /^src\/stages\/([a-z-]+)(?:\.ts$|\/)/.exec(source)?.[1];
  if (verb !== undefined && named.has(verb) && existsSync(join(root, 'test/stages', verb))) return true;
  if (/^native\/backend\/\w+\/(kernels|matmul|gemv)/.test(source)) return existsSync(join(root, 'test/native/ops'));
  // The benchmarks' index files, all in one test.
  if (/^src\/benchmarks\/(?:(?:[^/]+\/)?(?:index|published)|by-name)\.ts$/.test(source))
    return existsSync(join(root, 'test/benchmarks/registry.test.ts'));
  const stem = source.replace(/\.[a-z]+$/, '');
  return [stem, dirname(source)].some((name) =>
    source.startsWith('src/')
      ? existsSync(join(root, `${name.replace(/^src\//, 'test/')}.test.ts`))
      : existsSync(join(root, `test/${name}_test.cc`)),
  );
}

/** Files of types have no code to test. */
const hasCode = (source: string) =>
  !source.endsWith('.ts') || /^(export )?(default |async |abstract )*(function|const|class|let)\b/m.test(read(source));

const sources = [
  ...listFiles('src', /\.ts$/),
  ...listFiles('families', /\.(ts|cc)$/),
  ...listFiles('native', /\.(cc|cu)$/),
].sort();
for (const source of sources) if (hasCode(source) && !hasTest(source)) problems.push(`${source}: has no test`);

for (const problem of problems) console.error(problem);
console.log(`mirror: ${sources.length} sources, ${problems.length} problems`);
process.exitCode = problems.length > 0 ? 1 : 0;
