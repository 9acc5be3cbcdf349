// SPDX-License-Identifier: Apache-2.0
// Where the built engine is: in the package, or in the user's cache, there by what it was built from.
import { createHash } from 'node:crypto';
import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs';
import { homedir } from 'node:os';
import { dirname, join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import { EngineError } from './engine-error.ts';

const CPU_ADDON = 'vpref_cpu.node';
const CUDA_ADDON = 'vpref_cuda.node';

/** The file to load for a device. Throws EngineError{"addon"} saying how to build it. */
export function addonPath(device: 'auto' | 'cpu' | 'cuda'): string {
  const path = findAddon(device);
  if (path !== undefined) return path;
  const wanted = join(builtFolder(), device === 'cuda' ? CUDA_ADDON : CPU_ADDON);
  const what = device === 'cuda' ? 'the CUDA engine' : 'the native engine';
  throw new EngineError('addon', `${wanted}: ${what} is not built: run ${buildCommand(wanted)}`);
}

/** The addon that a device would load, if there is one. */
export function findAddon(device: 'auto' | 'cpu' | 'cuda'): string | undefined {
  const override = process.env.VPREF_ADDON;
  if (override) return override;
  const names = { cuda: [CUDA_ADDON], cpu: [CPU_ADDON, CUDA_ADDON], auto: [CUDA_ADDON, CPU_ADDON] }[device];
  // To know an engine in the cache takes a look at every source file: not where there is none.
  const folders = existsSync(addonCache()) ? addonFolders() : [builtFolder()];
  return names.flatMap((name) => folders.map((folder) => join(folder, name))).find((path) => existsSync(path));
}

/** Where engines are built and looked for: the package, then the user's cache, there by what they are built from. */
export function addonFolders(): string[] {
  return [builtFolder(), join(addonCache(), sourceKey(packageRoot()))];
}

function builtFolder(): string {
  return join(packageRoot(), 'build', 'native');
}

function addonCache(): string {
  return join(process.env.XDG_CACHE_HOME || join(homedir(), '.cache'), 'vpref', 'native');
}

// Sizes of the sources are enough to tell one package from the next, and cost no reading.
let knownKey: string | undefined;
function sourceKey(root: string): string {
  if (knownKey !== undefined) return knownKey;
  const { version } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as { version: string };
  const sum = createHash('sha256');
  const folders = ['native', 'families'].map((name) => join(root, name)).filter((path) => existsSync(path));
  const files = folders.flatMap((folder) => readdirSync(folder, { recursive: true, withFileTypes: true }));
  const names = files
    .filter((file) => file.isFile() && !file.name.endsWith('.ts'))
    .map((file) => join(file.parentPath, file.name));
  for (const name of names.sort()) sum.update(`${relative(root, name)} ${statSync(name).size}\n`);
  knownKey = `${version}-${process.platform}-${process.arch}-${sum.digest('hex').slice(0, 12)}`;
  return knownKey;
}

/** What builds the addon at this path again. */
export function buildCommand(path: string): string {
  return join(packageRoot(), 'scripts', 'build-native.sh') + (path.endsWith('vpref_cuda.node') ? ' --cuda' : '');
}

/** The folder of package.json, from src/engine as well as from the bundle in dist/. */
export function packageRoot(): string {
  let folder = dirname(fileURLToPath(import.meta.url));
  while (!existsSync(join(folder, 'package.json')) && dirname(folder) !== folder) folder = dirname(folder);
  return folder;
}
