// SPDX-License-Identifier: Apache-2.0
// Checks the import rules of ARCHITECTURE.md: allowed imports between folders of src/, no cycles between files, and no import of a family except in families/index.ts.
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('..', import.meta.url));

/** Folder -> folders that it may import besides itself. */
const allowed: Record<string, string[]> = {
  commands: ['flow', 'cli', 'stages', 'benchmarks', 'model', 'engine', 'records', 'pixels', 'text', 'http'],
  stages: ['flow', 'benchmarks', 'model', 'engine', 'records', 'pixels', 'text', 'http', 'python', 'families'],
  benchmarks: ['flow', 'stages', 'records', 'text', 'python'],
  model: ['flow', 'engine', 'records', 'pixels', 'text', 'families'],
  families: ['pixels', 'records'],
  engine: ['records', 'text'],
  cli: ['flow', 'records', 'stages', 'model', 'engine', 'pixels', 'http', 'families'],
  pixels: ['records'],
  text: ['records'],
  http: ['records'],
  python: ['records'],
  workers: ['families', 'pixels', 'records', 'stages'],
  flow: ['engine', 'records', 'pixels'],
  records: [],
};

const imports = new Map<string, string[]>();
const problems: string[] = [];
/** The folder of src/ that a file is in; families/ is beside src/. */
const folderOf = (file: string) => (file.startsWith('families/') ? 'families' : file.split('/')[1]!);
const files = ['src', 'families'].flatMap((folder) =>
  readdirSync(join(root, folder), { recursive: true, withFileTypes: true })
    .filter((entry) => entry.name.endsWith('.ts'))
    .map((entry) => join(entry.parentPath, entry.name).slice(root.length)),
);
for (const file of files) {
  const targets: string[] = [];
  const text = readFileSync(join(root, file), 'utf8');
  for (const [, type, target] of text.matchAll(/^(?:import|export) (type )?[^;]*?from '(\.[^']+)';/gms)) {
    const path = join(dirname(file), target!);
    if (!existsSync(join(root, path))) problems.push(`${file}: imports ${path}, which does not exist`);
    const [from, to] = [folderOf(file), folderOf(path)];
    if (from !== 'families' && /^families\/\w+\//.test(path))
      problems.push(`${file}: expected the family from families/index.ts, got an import of ${path}`);
    if (from !== to && !allowed[from]?.includes(to)) problems.push(`${file}: ${from} may not import ${to} (${path})`);
    if (type === undefined) targets.push(path);
  }
  // Differences between families belong in their folders.
  const compares = /\bmodel_?types?(\[0\])?\s*[!=]==?/i.test(text);
  if (compares && folderOf(file) !== 'families') problems.push(`${file}: compares a model's type; ask its family`);
  imports.set(file, targets);
}

// The same for C++: no other file compares a family's name or includes its header.
for (const entry of readdirSync(join(root, 'native'), { recursive: true, withFileTypes: true })) {
  if (!/\.(cc|h|cu|cuh)$/.test(entry.name)) continue;
  const file = join(entry.parentPath, entry.name).slice(root.length);
  const text = readFileSync(join(root, file), 'utf8');
  if (/model_type\s*(==|!=)|(==|!=)\s*[\w.\->]*model_type\b/.test(text))
    problems.push(`${file}: compares model_type; ask its family`);
  for (const [, path] of text.matchAll(/#include "(families\/[^"/]+\/[^"]+)"/g))
    problems.push(`${file}: includes ${path}; only families/ may`);
}

const finished = new Set<string>();
function findCycle(file: string, above: string[]): void {
  if (above.includes(file)) {
    problems.push(`cycle: ${[...above.slice(above.indexOf(file)), file].join(' -> ')}`);
    return;
  }
  if (finished.has(file)) return;
  for (const target of imports.get(file) ?? []) findCycle(target, [...above, file]);
  finished.add(file);
}
for (const file of imports.keys()) findCycle(file, []);

for (const problem of problems) console.error(problem);
console.log(`imports: ${imports.size} files, ${problems.length} problems`);
process.exitCode = problems.length > 0 ? 1 : 0;
