// SPDX-License-Identifier: Apache-2.0
// Writes src/engine/losses.ts from the engine's tables, so --help can list losses and flags without loading the engine.
import { loadBinding } from '../src/engine/binding.ts';
import { emit } from './manifest.ts';

const { binding } = loadBinding('cpu');
const names = binding.losses().map(({ name }) => `  '${name}',`);
const member = ([key, value]: [string, unknown]) => `${key}: ${typeof value === 'string' ? quoted(value) : value}`;
const rows = binding.hyperparameters().map((row) => `  { ${Object.entries(row).map(member).join(', ')} },`);

function quoted(text: string): string {
  return `'${text.replace(/[\\']/g, '\\$&')}'`;
}

emit(
  'src/engine/losses.ts',
  `// SPDX-License-Identifier: Apache-2.0
// The losses that the engine knows, the sums published under a name, and the numbers that they read. Made by scripts/losses.ts.

export const LOSSES = [
${names.join('\n')}
] as const;

/** As flags of train. */
// biome-ignore format: a row each
export const HYPERPARAMETERS = [
${rows.join('\n')}
] as const;
`,
);
