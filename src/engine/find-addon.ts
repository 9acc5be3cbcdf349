// SPDX-License-Identifier: Apache-2.0
// Location of the engine: built in the package, built in the user's cache (by hash of its sources), or prebuilt in another package.
import { createHash } from 'node:crypto';
import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs';
import { homedir } from 'node:os';
import { dirname, join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import { EngineError } from './engine-error.ts';
import { findPrebuilt } from './prebuilt.ts';

const CPU_ADDON = 'vpref_cpu.node';
const CUDA_ADDON = 'vpref_cuda.node';

/** The file to load for a device. Throws EngineError{"addon"} with the command that builds it. */
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
  // Finding an engine in the cache reads the size of every source file, so skip it if the cache is empty.
  const folders = existsSync(addonCache()) ? addonFolders() : [builtFolder()];
  const built = names.flatMap((name) => folders.map((folder) => join(folder, name))).find((path) => existsSync(path));
  return built ?? (device === 'cuda' ? undefined : prebuilt()?.path);
}

/** Origin of the engine at this path, as text. */
export function addonOrigin(path: string): string {
  if (path === process.env.VPREF_ADDON) return 'named by VPREF_ADDON';
  const found = prebuilt();
  if (path === found?.path) return `prebuilt, ${found.name} ${found.version}`;
  return found === undefined ? 'built here' : `built here, preferred to ${found.name}`;
}

/** Whether this is the addon of a prebuilt engine. */
export function isPrebuilt(path: string): boolean {
  return path === prebuilt()?.path;
}

/** The reason why the installed prebuilt engine is not used; undefined if none is installed, or it fits. */
export function prebuiltMisfit(): string | undefined {
  const found = prebuilt();
  return found?.misfit && `${found.name} ${found.version} is not used: ${found.misfit}`;
}

function prebuilt() {
  return findPrebuilt({ root: packageRoot(), addon: CPU_ADDON, sources: ownKey });
}

/** Folders where engines are built and searched: the package, then the user's cache, by hash of the sources. */
export function addonFolders(): string[] {
  return [builtFolder(), join(addonCache(), ownKey())];
}

function builtFolder(): string {
  return join(packageRoot(), 'build', 'native');
}

function addonCache(): string {
  return join(process.env.XDG_CACHE_HOME || join(homedir(), '.cache'), 'vpref', 'native');
}

let knownKey: string | undefined;

/**
 * Key of the engine's sources for this architecture. File sizes suffice to distinguish packages, and need no reading.
 */
export function sourceKey(root: string, arch: string = process.arch): string {
  const { version } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as { version: string };
  const sum = createHash('sha256');
  const folders = ['native', 'families'].map((name) => join(root, name)).filter((path) => existsSync(path));
  const files = folders.flatMap((folder) => readdirSync(folder, { recursive: true, withFileTypes: true }));
  const names = files
    .filter((file) => file.isFile() && !file.name.endsWith('.ts'))
    .map((file) => join(file.parentPath, file.name));
  for (const name of names.sort()) sum.update(`${relative(root, name)} ${statSync(name).size}\n`);
  return `${version}-${process.platform}-${arch}-${sum.digest('hex').slice(0, 12)}`;
}

function ownKey(): string {
  knownKey ??= sourceKey(packageRoot());
  return knownKey;
}

/** The command that rebuilds the addon at this path. */
export function buildCommand(path: string): string {
  return join(packageRoot(), 'scripts', 'build-native.sh') + (path.endsWith('vpref_cuda.node') ? ' --cuda' : '');
}

/** The folder of package.json, both for src/engine and for the bundle in dist/. */
export function packageRoot(): string {
  let folder = dirname(fileURLToPath(import.meta.url));
  while (!existsSync(join(folder, 'package.json')) && dirname(folder) !== folder) folder = dirname(folder);
  return folder;
}
