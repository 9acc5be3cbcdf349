#!/usr/bin/env -S node --import tsx
// SPDX-License-Identifier: Apache-2.0
// The same on the TypeScript sources: no build, slower to start.
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { Plugin } from '@oclif/core';
import { main } from '../src/cli/main.ts';

const root = fileURLToPath(new URL('..', import.meta.url));
const pjson = JSON.parse(readFileSync(new URL('../package.json', import.meta.url), 'utf8'));
pjson.oclif.commands = './src/commands';
// The manifest names the files of dist/. oclif reads it for the root plugin unless that plugin comes loaded.
const plugin = new Plugin({ isRoot: true, pjson, root, ignoreManifest: true });
await plugin.load();
await main({ root, pjson, plugins: [plugin] });
