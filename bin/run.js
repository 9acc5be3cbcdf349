#!/usr/bin/env node
// SPDX-License-Identifier: Apache-2.0
import { existsSync } from 'node:fs';
import module from 'node:module';
import { fileURLToPath } from 'node:url';

module.enableCompileCache?.();
const root = fileURLToPath(new URL('..', import.meta.url));
if (existsSync(`${root}/dist/main.js`)) {
  const { main } = await import('../dist/main.js');
  await main({ root });
} else {
  console.error('vpref: not built yet: run `make build` in', root);
  process.exitCode = 1;
}
