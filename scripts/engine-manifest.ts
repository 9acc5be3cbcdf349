// SPDX-License-Identifier: Apache-2.0
// package.json of a prebuilt engine, on stdout: engine-manifest.ts ARCH GLIBC.
import { readFileSync } from 'node:fs';
import { packageRoot, sourceKey } from '../src/engine/find-addon.ts';

const [arch, glibc] = process.argv.slice(2) as [string, string];
const { version, license } = JSON.parse(readFileSync('package.json', 'utf8')) as { version: string; license: string };
const manifest = {
  name: `vpref-engine-linux-${arch}`,
  version,
  description: `The native engine of vpref, built for Linux on ${arch}`,
  license,
  os: ['linux'],
  cpu: [arch],
  libc: ['glibc'],
  // Compared by src/engine/prebuilt.ts.
  vpref: { sources: sourceKey(packageRoot(), arch), glibc },
};
console.log(JSON.stringify(manifest, null, 2));
