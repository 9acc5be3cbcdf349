#!/usr/bin/env node
// SPDX-License-Identifier: Apache-2.0
// src/ -> dist/: one bundle per command with shared chunks, and oclif's manifest of them. Bundling reduces the file system calls at the start of `pair`
// from 2,300 to 170, which matters on network file systems.
import { mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';
import { bundledPackages, licenseText } from './licenses.mjs';
import { oclifStart, withCommonJsNames } from './oclif-start.mjs';

const root = fileURLToPath(new URL('..', import.meta.url));
process.chdir(root);

const list = (folder) => {
  try {
    return readdirSync(folder)
      .filter((name) => name.endsWith('.ts'))
      .map((name) => `${folder}/${name}`);
  } catch (error) {
    if (error.code === 'ENOENT') return [];
    throw error;
  }
};

const { dependencies, version } = JSON.parse(readFileSync('package.json', 'utf8'));
// Bundle oclif, which every start loads, and sharp, of which each pixel thread would open 80 files. Other packages are loaded from node_modules on
// use.
const bundled = ['@oclif/core', 'sharp'];
const external = Object.keys(dependencies).filter((name) => !bundled.includes(name));
// The bundled sharp looks for its library from where sharp is installed.
const sharpLibrary = {
  name: 'sharp-library',
  setup: ({ onLoad }) =>
    onLoad({ filter: /\/sharp\/dist\/\w+\.mjs$/ }, ({ path }) => ({
      contents: readFileSync(path, 'utf8').replace(
        'createRequire(import.meta.url)',
        "createRequire(createRequire(import.meta.url).resolve('sharp'))",
      ),
    })),
};
const commands = list('src/commands');

// Built in another folder, then moved into place.
const out = `build/dist-${process.pid}`;
mkdirSync('build', { recursive: true });
const { metafile } = await build({
  metafile: true,
  absWorkingDir: root,
  entryPoints: ['src/cli/main.ts', 'src/cli/help.ts', ...commands, ...list('src/workers')].map((path) => ({
    in: path,
    out: path.replace(/^src\/(cli\/)?|\.ts$/g, ''),
  })),
  outdir: out,
  bundle: true,
  splitting: true,
  format: 'esm',
  platform: 'node',
  target: 'node20',
  minifySyntax: true,
  minifyWhitespace: true,
  sourcemap: false,
  chunkNames: 'chunks/[name]-[hash]',
  // oclif imports typescript only to run sources, which the bundle does not.
  external: [...external.flatMap((name) => [name, `${name}/*`]), '@img/sharp*', '*.node', 'typescript'],
  plugins: [sharpLibrary, oclifStart],
  logLevel: 'warning',
});

for (const path of Object.keys(metafile.outputs)) writeFileSync(path, withCommonJsNames(readFileSync(path, 'utf8')));
writeFileSync(`${out}/THIRD-PARTY-LICENSES`, licenseText(bundledPackages(metafile)));
rmSync('dist', { recursive: true, force: true });
renameSync(out, 'dist');
await writeManifest();

async function writeManifest() {
  rmSync('oclif.manifest.json', { force: true });
  const { Config } = await import('@oclif/core');
  const config = await Config.load({ root, ignoreManifest: true });
  const plugin = config.plugins.get('vpref');
  const manifest = { commands: {}, version };
  for (const id of plugin.commandIDs.sort()) {
    const { aliases, hidden, ...command } = plugin.manifest.commands[id];
    manifest.commands[id] = {
      aliases,
      hidden,
      ...command,
      isESM: true,
      relativePath: ['dist', 'commands', `${id}.js`],
    };
  }
  writeFileSync('oclif.manifest.json.new', `${JSON.stringify(manifest, null, 2)}\n`);
  renameSync('oclif.manifest.json.new', 'oclif.manifest.json');
}
