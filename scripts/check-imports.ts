// SPDX-License-Identifier: Apache-2.0
// Keeps the import rule of ARCHITECTURE.md: which folder of src/ may import which, and no cycles between files.
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('..', import.meta.url));

/** Folder -> folders it may import beside itself. */
const allowed: Record<string, string[]> = {
  commands: ['flow', 'cli', 'stages', 'benchmarks', 'engine', 'records', 'pixels', 'text', 'http'],
  stages: ['flow', 'benchmarks', 'engine', 'records', 'pixels', 'text', 'http', 'python'],
  benchmarks: ['flow', 'stages', 'records', 'text', 'python'],
  engine: ['records', 'text'],
  cli: ['flow', 'records', 'stages', 'engine', 'pixels', 'http'],
  pixels: ['records'],
  text: ['records'],
  http: ['records'],
  python: ['records'],
  workers: ['pixels', 'records', 'stages'],
  flow: ['engine', 'records'],
  records: [],
};

const imports = new Map<string, string[]>();
const problems: string[] = [];
for (const entry of readdirSync(join(root, 'src'), { recursive: true, withFileTypes: true })) {
  if (!entry.name.endsWith('.ts')) continue;
  const file = join(entry.parentPath, entry.name).slice(root.length);
  const targets: string[] = [];
  const text = readFileSync(join(root, file), 'utf8');
  for (const [, type, target] of text.matchAll(/^(?:import|export) (type )?[^;]*?from '(\.[^']+)';/gms)) {
    const path = join(dirname(file), target!);
    if (!existsSync(join(root, path))) problems.push(`${file}: imports ${path}, which does not exist`);
    const [from, to] = [file.split('/')[1]!, path.split('/')[1]!];
    if (from !== to && !allowed[from]?.includes(to)) problems.push(`${file}: ${from} may not import ${to} (${path})`);
    if (type === undefined) targets.push(path);
  }
  imports.set(file, targets);
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
