// SPDX-License-Identifier: Apache-2.0
// Checks that no C++ function has more than seven parameters, and prints those that do; related parameters belong in a struct.
import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const mostParameters = 7;
const ownRoot = fileURLToPath(new URL('..', import.meta.url));
const notFunctions = new Set(['if', 'for', 'while', 'switch', 'catch', 'return', 'sizeof', 'alignas', 'decltype']);

/** The source without comments, strings and preprocessor lines; line numbers stay. */
function bare(text: string): string {
  const blank = (found: string) => found.replace(/[^\n]/g, ' ');
  return text
    .replace(/\/\*[\s\S]*?\*\/|\/\/[^\n]*|"(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])+'/g, blank)
    .replace(/^[ \t]*#(?:[^\n]*\\\n)*[^\n]*/gm, blank);
}

/** Offset of the bracket that closes the one at `open`. */
function closing(text: string, open: number): number {
  const [opens, closes] = text[open] === '{' ? '{}' : '()';
  let depth = 0;
  for (let at = open; at < text.length; ++at) {
    if (text[at] === opens) ++depth;
    if (text[at] === closes && --depth === 0) return at;
  }
  return text.length;
}

function countParameters(list: string): number {
  let flat = list;
  for (let before = ''; before !== flat; ) {
    before = flat;
    flat = flat.replace(/<[^<>]*>|\([^()]*\)|\{[^{}]*\}|\[[^[\]]*\]/g, '');
  }
  return flat.trim() === '' ? 0 : flat.split(',').length;
}

export interface Definition {
  name: string;
  line: number;
  parameters: number;
  /** From the name to the closing brace. */
  numLines: number;
}

/** Functions, constructors and lambdas with a body. */
export function definitions(source: string): Definition[] {
  const text = bare(source);
  const found = [];
  for (const { 0: head, index } of text.matchAll(/(?:~?\b[A-Za-z_]\w*|\])\s*\(/g)) {
    const name = head.replace(/\s*\($/, '');
    if (notFunctions.has(name)) continue;
    const open = index + head.length - 1;
    const end = closing(text, open);
    const after = text.slice(end + 1, end + 200);
    const isBody = /^\s*(?:(?:const|noexcept|override|final|mutable)\b\s*)*(?:->[^;{}]*)?\{/.test(after);
    const statement = text.slice(Math.max(text.lastIndexOf(';', index), text.lastIndexOf('}', index), 0), index);
    const isConstructor = /^\s*:\s*[A-Za-z_]\w*\s*[({]/.test(after) && !statement.includes('?');
    if (!isBody && !isConstructor) continue;
    const line = text.slice(0, index).split('\n').length;
    const last = isBody ? closing(text, text.indexOf('{', end)) : text.indexOf('}', end);
    const numLines = text.slice(index, last).split('\n').length;
    found.push({ name, line, parameters: countParameters(text.slice(open + 1, end)), numLines });
  }
  return found;
}

/** Functions of the engine with too many parameters, as FILE:LINE: NAME: ... */
export function longParameterLists(root = ownRoot): string[] {
  return execFileSync('git', ['ls-files', '-co', '--exclude-standard', 'native', 'families'], {
    cwd: root,
    encoding: 'utf8',
  })
    .split('\n')
    .filter((path) => /\.(cc|h|cu|cuh)$/.test(path))
    .flatMap((path) =>
      definitions(readFileSync(join(root, path), 'utf8'))
        .filter(({ parameters }) => parameters > mostParameters)
        .map(
          ({ name, line, parameters }) =>
            `${path}:${line}: ${name}: expected at most ${mostParameters} parameters, got ${parameters}`,
        ),
    );
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const found = longParameterLists();
  for (const line of found) console.error(line);
  if (found.length > 0) process.exitCode = 1;
}
