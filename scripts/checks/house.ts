// SPDX-License-Identifier: Apache-2.0
// Prints counts of the source, each with its places; with another checkout, a table of both:
//   node --import tsx scripts/checks/house.ts [OTHER]
import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { definitions, longParameterLists } from '../check-parameters.ts';

interface File {
  name: string;
  text: string;
}
interface Count {
  count: number | string;
  places?: string[];
}

function sources(root: string): File[] {
  return execFileSync('git', ['ls-files', 'src', 'native', 'families'], { cwd: root, encoding: 'utf8' })
    .split('\n')
    .filter((name) => /\.(ts|cc|h|cu|cuh)$/.test(name))
    .map((name) => ({ name, text: readFileSync(join(root, name), 'utf8') }));
}

const isNative = ({ name }: File) => !name.endsWith('.ts');
const numLines = ({ text }: File) => text.split('\n').length - 1;
const listed = (places: string[]): Count => ({ count: places.length, places });
const named = (files: File[]): Count => listed(files.map(({ name }) => name));
const total = (files: File[]): Count => ({ count: files.reduce((sum, file) => sum + numLines(file), 0) });

const functionHead =
  /^( *)(?:export )?(?:default )?(?:(?:async )?function\*? \w|const \w+ = (?:async )?(?:<.*>)?\((?!.*\);$)|(?:(?:private|protected|static|override|async|get|set) )*\*?(?!(?:if|for|while|switch|catch|return|super|await)\b)#?\w+(?:<.*>)?\((?:[^;]*\{|[^;{]*\()?$)/;

/** Lines of each function, method and arrow function that has a name; the formatter's indentation shows where one ends. */
function functionLengths({ text }: File): number[] {
  const lines = text.split('\n');
  const lengths: number[] = [];
  for (const [first, line] of lines.entries()) {
    const indent = functionHead.exec(line)?.[1];
    if (indent === undefined) continue;
    let last = first;
    while (last + 1 < lines.length) {
      const next = lines[last + 1]!;
      const closes = new RegExp(`^${indent}[})\\]]`).test(next);
      if (next !== '' && !next.startsWith(`${indent} `) && !closes) break;
      last++;
      if (closes && !/(?:[{(]|=>)$/.test(next)) break;
    }
    while (lines[last] === '') last--;
    const body = lines.slice(first, last + 1).join('\n');
    if (/=>|\{\n/.test(body) || line.includes('function')) lengths.push(last - first + 1);
  }
  return lengths;
}

function spread(lengths: number[]): Count {
  const sorted = lengths.sort((a, b) => a - b);
  const at = (part: number) => sorted[Math.min(sorted.length - 1, Math.floor(part * sorted.length))];
  return { count: `${sorted.length}: ${at(0.5)} / ${at(0.9)} / ${at(0.99)} / ${sorted.at(-1)}` };
}

/** Places where all of the seven names stand within fifteen lines. */
function listsOfLinears({ name, text }: File): string[] {
  const linears = ['q_?proj', 'k_?proj', 'v_?proj', 'o_?proj', 'gate_?proj', 'up_?proj', 'down_?proj'].map(
    (word) => new RegExp(`(?:\\b|_|k)${word}`, 'i'),
  );
  const lines = text.split('\n').map((line) => line.replace(/\/\/.*| \*.*/, ''));
  const found: string[] = [];
  for (let first = 0; first < lines.length; first++) {
    const window = lines.slice(first, first + 15).join('\n');
    if (!linears.some((linear) => linear.test(lines[first]!)) || !linears.every((linear) => linear.test(window)))
      continue;
    found.push(`${name}:${first + 1}`);
    first += 14;
  }
  return found;
}

const imageSize = /\bimage_size\b|num_image_rows\(\)|\bnumImageRows\b|\bvision\.imageSize\b/;
const modelType = /\bmodel_type ==|\bmodelType ===/;

function counts(root: string): Record<string, Count> {
  const files = sources(root);
  const below = (folder: string) => files.filter(({ name }) => name.startsWith(`${folder}/`));
  const outside = files.filter(({ name }) => !name.startsWith('families/'));
  const native = files.filter(isNative);
  const defined = native.flatMap(({ text }) => definitions(text));
  return {
    'lines of src': total(below('src')),
    'lines of native': total(below('native')),
    'lines of families': total(below('families')),
    files: { count: files.length },
    'files above 300 lines': named(files.filter((file) => numLines(file) > 300)),
    'TypeScript functions: lines, median / p90 / p99 / most': spread(
      files.filter((file) => !isNative(file)).flatMap(functionLengths),
    ),
    'C++ functions: lines, median / p90 / p99 / most': spread(
      defined.filter(({ name }) => name !== ']').map((found) => found.numLines),
    ),
    'C++ lines above 120 columns': listed(
      native.flatMap(({ name, text }) =>
        text.split('\n').flatMap((line, index) => (line.length > 120 ? [`${name}:${index + 1}`] : [])),
      ),
    ),
    'C++ functions with more than 7 parameters': listed(longParameterLists(root)),
    'lists of the seven linears of a layer': listed(files.flatMap(listsOfLinears)),
    'files outside families/ that name one image size or count': named(
      outside.filter(({ text }) => imageSize.test(text)),
    ),
    'files outside families/ that compare a model type': named(outside.filter(({ text }) => modelType.test(text))),
  };
}

const commit = (cwd: string) => execFileSync('git', ['rev-parse', '--short', 'HEAD'], { cwd, encoding: 'utf8' }).trim();
const root = fileURLToPath(new URL('../..', import.meta.url));
const now = counts(root);
const other = process.argv[2];
if (other === undefined) {
  for (const [what, value] of Object.entries(now)) console.log(JSON.stringify({ what, ...value }));
} else {
  const before = counts(other);
  console.log(`| | ${commit(other)} | ${commit(root)} |\n|---|---|---|`);
  for (const [what, { count }] of Object.entries(now)) console.log(`| ${what} | ${before[what]!.count} | ${count} |`);
}
