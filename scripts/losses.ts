// SPDX-License-Identifier: Apache-2.0
// src/engine/losses.ts from the engine's table of losses, so that --help can list them without loading it.
import { loadBinding } from '../src/engine/binding.ts';
import { emit } from './manifest.ts';

const names = loadBinding('cpu')
  .binding.losses()
  .map(({ name }) => `  '${name}',`);
emit(
  'src/engine/losses.ts',
  `// SPDX-License-Identifier: Apache-2.0
// The losses that the engine knows, and the sums published under a name. Made by scripts/losses.ts.

export const LOSSES = [
${names.join('\n')}
] as const;
`,
);
