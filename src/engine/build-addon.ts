// SPDX-License-Identifier: Apache-2.0
// Builds the native engine of an installed package: into the package, or into the user's cache if the package is not
// writable.
import { spawn, spawnSync } from 'node:child_process';
import { accessSync, constants, existsSync, mkdirSync, readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { EngineError } from './engine-error.ts';
import { addonFolders, findAddon, packageRoot, prebuiltMisfit } from './find-addon.ts';
import { ENGINE_PACKAGE, PREBUILT_KINDS } from './prebuilt.ts';

export interface AddonBuild {
  device: 'auto' | 'cpu' | 'cuda';
  /** Its abort ends the build. */
  stop?: AbortSignal;
  /** Called with notes about the build: start and waits. */
  note(message: string): void;
  /** Called with the built share, 0 to 1. */
  onProgress?(share: number): void;
}

/** Whether the engine for the device exists; not checked for $VPREF_ADDON. */
export function hasAddon(device: 'auto' | 'cpu' | 'cuda'): boolean {
  return findAddon(device) !== undefined;
}

/**
 * Builds the engine. Concurrent processes wait for the one that builds.
 * Throws EngineError{"addon"} with what to install, or with the path of the compiler's log.
 */
export async function buildAddon({ device, stop, note, onProgress }: AddonBuild): Promise<void> {
  const misfit = device === 'cuda' ? undefined : prebuiltMisfit();
  if (misfit !== undefined) note(misfit);
  const folder = writableFolder();
  const script = join(packageRoot(), 'scripts', 'build-native.sh');
  if (!existsSync(script)) throw new EngineError('addon', `${script}: is missing: install the package again`);
  const args = [script, '--no-tests', '--build-dir', folder, '--node-modules', headersFolder()];
  if (device === 'cuda') args.push('--cuda');
  printed([...args, '--check']);
  const logs = printed([...args, '--print-dir']);
  const log = join(logs, 'build.log');
  note(
    `the native engine is not built yet: building it once, a few minutes on two cores, into ${folder} (log: ${log})`,
  );
  const timer = setInterval(() => {
    const share = builtShare(log);
    if (share !== undefined) onProgress?.(share);
  }, 500);
  try {
    await runBuild(args, { log, note, ...(stop && { stop }) });
  } finally {
    clearInterval(timer);
  }
  if (!hasAddon(device)) throw new EngineError('addon', `${folder}: the build ended without an engine; log: ${log}`);
}

/** Advice if there is no engine. */
export function addonRemedy(): string {
  const script = join(packageRoot(), 'scripts', 'build-native.sh');
  // An engine that exists but does not load is not rebuilt automatically.
  if (findAddon('auto') !== undefined) return `${script} --no-tests`;
  const { error, status, stderr } = spawnSync('bash', [script, '--check'], { encoding: 'utf8' });
  if (error) return `building the engine needs bash, cmake and a C++ compiler; ${WITHOUT_ENGINE}`;
  if (status === 0) return `the first command that runs a model builds it, or: ${script} --no-tests`;
  const advice = [prebuiltMisfit() ?? '', stderr, prebuiltAdvice()].flatMap((text) => text.split('\n')).map(oneLine);
  return `${advice
    .filter((line) => line !== '')
    .join('; ')
    .replaceAll(':;', ':')}; ${WITHOUT_ENGINE}`;
}

const WITHOUT_ENGINE = 'import, augment, mix, pair, eval, report and export to other formats do not need it';

/** "  Debian   apt-get install it   (why)" becomes "Debian: apt-get install it (why)". */
function oneLine(line: string): string {
  return line.trim().replace(/ {2,}/, ': ').replace(/ {2,}/g, ' ');
}

/** The way without a compiler; empty where a prebuilt engine is installed and does not fit, or none is made. */
function prebuiltAdvice(): string {
  if (!PREBUILT_KINDS.includes(`${process.platform}-${process.arch}`) || prebuiltMisfit() !== undefined) return '';
  const { version } = JSON.parse(readFileSync(join(packageRoot(), 'package.json'), 'utf8')) as { version: string };
  const file = `${ENGINE_PACKAGE}-${version}.tgz`;
  return `  no compiler      npm install -g ${file}, which scripts/pack-engine.sh makes on a machine that has one`;
}

/** The first writable folder of those where engines are searched. */
function writableFolder(): string {
  const folders = addonFolders();
  for (const folder of folders)
    try {
      mkdirSync(folder, { recursive: true });
      accessSync(folder, constants.W_OK);
      return folder;
    } catch {}
  throw new EngineError(
    'addon',
    `the native engine is not built, and none of ${folders.join(', ')} can be written to build it in: set XDG_CACHE_HOME to a folder that can`,
  );
}

/** node_modules with the headers: in this package, beside it or above it. */
function headersFolder(): string {
  const require = createRequire(import.meta.url);
  return dirname(dirname(require.resolve('node-addon-api/package.json')));
}

function printed(args: string[]): string {
  const { error, stdout, stderr, status } = spawnSync('bash', args, { encoding: 'utf8' });
  if (error)
    throw new EngineError('addon', `the native engine is not built, and building it needs bash: ${error.message}`);
  if (status !== 0)
    throw new EngineError(
      'addon',
      `the native engine is not built, and cannot be: ${stderr.trim()}\n${prebuiltAdvice()}`.trimEnd(),
    );
  return stdout.trim();
}

function runBuild(
  args: string[],
  { log, note, stop }: { log: string; note(message: string): void; stop?: AbortSignal },
): Promise<void> {
  return new Promise((resolve, reject) => {
    // A separate process group, so a stop also reaches the compilers.
    const child = spawn('bash', args, { stdio: ['ignore', 'pipe', 'pipe'], detached: true });
    const end = () => process.kill(-child.pid!, 'SIGTERM');
    if (stop?.aborted) end();
    stop?.addEventListener('abort', end, { once: true });
    let output = '';
    child.stdout.on('data', (chunk: Buffer) => {
      if (String(chunk).includes('another build is running')) note('another process is building it: waiting');
    });
    child.stderr.on('data', (chunk: Buffer) => {
      output += chunk;
    });
    child.on('error', reject);
    child.on('close', (status) => {
      stop?.removeEventListener('abort', end);
      if (status === 0) return resolve();
      if (stop?.aborted) return reject(stop.reason);
      const last = output.trim().split('\n').slice(-12).join('\n');
      reject(
        new EngineError(
          'addon',
          `the native engine could not be built: ${last || `bash ended with ${status}`}\nlog: ${log}`,
        ),
      );
    });
  });
}

/** From the last "[12/90]" (ninja) or "[ 12%]" (make) of the log. */
export function builtShare(log: string): number | undefined {
  let text: string;
  try {
    text = readFileSync(log, 'utf8').slice(-4000);
  } catch {
    return undefined;
  }
  const steps = [...text.matchAll(/^\[\s*(\d+)(?:\/(\d+)|%)\]/gm)].at(-1);
  return steps === undefined ? undefined : Number(steps[1]) / Number(steps[2] ?? 100);
}
