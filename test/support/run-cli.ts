// SPDX-License-Identifier: Apache-2.0
// The real binary in a child process, built first when a source is newer.
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { mkdirSync, mkdtempSync, readdirSync, rmdirSync, rmSync, statSync, symlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import { fileURLToPath } from 'node:url';

export const root = fileURLToPath(new URL('../..', import.meta.url));
export const bin = join(root, 'bin/run.js');

export interface CliResult {
  /** Exit status; 128 + n when signal n ended the process, as a shell reports it. */
  code: number;
  stdout: string;
  stderr: string;
}

export interface CliOptions {
  input?: string | Uint8Array;
  cwd?: string;
  env?: Record<string, string | undefined>;
}

/** Runs `vpref ARGS...` to its end. */
export async function runCli(args: string[], options: CliOptions = {}): Promise<CliResult> {
  const child = spawnCli(args, options);
  // A command that refuses its arguments closes stdin unread.
  child.stdin!.on('error', () => {});
  child.stdin!.end(options.input ?? '');
  return collect(child);
}

/** Starts `vpref ARGS...` with all three streams as pipes. */
export function spawnCli(args: string[], { cwd, env }: CliOptions = {}): ChildProcess {
  ensureBuilt();
  return spawn(process.execPath, [bin, ...args], { cwd, env: cliEnvironment(env) });
}

/** Runs a line of bash in which `vpref` is the binary under test. */
export async function runShell(line: string, { input, cwd, env }: CliOptions = {}): Promise<CliResult> {
  ensureBuilt();
  const path = `${binFolder()}${delimiter}${process.env.PATH}`;
  const child = spawn('bash', ['-o', 'pipefail', '-c', line], { cwd, env: { ...cliEnvironment(env), PATH: path } });
  child.stdin.on('error', () => {});
  child.stdin.end(input ?? '');
  return collect(child);
}

export function collect(child: ChildProcess): Promise<CliResult> {
  const out: Buffer[] = [];
  const err: Buffer[] = [];
  child.stdout?.on('data', (chunk) => out.push(chunk));
  child.stderr?.on('data', (chunk) => err.push(chunk));
  return new Promise((resolve, reject) => {
    child.on('error', reject);
    child.on('close', (code, signal) => {
      const signals: Record<string, number> = { SIGINT: 2, SIGKILL: 9, SIGUSR1: 10, SIGPIPE: 13, SIGTERM: 15 };
      const status = code ?? 128 + (signals[signal ?? ''] ?? 0);
      resolve({ code: status, stdout: Buffer.concat(out).toString(), stderr: Buffer.concat(err).toString() });
    });
  });
}

/** A new empty folder under the system's, removed when the process ends. */
export function temporaryFolder(name = 'test'): string {
  const folder = mkdtempSync(join(tmpdir(), `vpref-${name}-`));
  if (temporary.length === 0)
    process.on('exit', () => {
      for (const path of temporary) rmSync(path, { recursive: true, force: true });
    });
  temporary.push(folder);
  return folder;
}

const temporary: string[] = [];

// What a developer or a cluster has in the environment must not change a test.
function cliEnvironment(extra: CliOptions['env']): NodeJS.ProcessEnv {
  const kept = Object.entries(process.env).filter(
    ([name]) => !/^(SLURM_|OMPI_|NODE_OPTIONS|NODE_TEST_|FORCE_COLOR|DEBUG)/.test(name),
  );
  return { ...Object.fromEntries(kept), NO_COLOR: '1', LC_ALL: 'C.UTF-8', VPREF_FREEZE_INPUT: '1', ...extra };
}

let folder: string | undefined;

/** A folder with `vpref` (and the `node` of this process) in it, for PATH. */
function binFolder(): string {
  if (folder === undefined) {
    folder = temporaryFolder('bin');
    symlinkSync(bin, join(folder, 'vpref'));
    symlinkSync(process.execPath, join(folder, 'node'));
  }
  return folder;
}

let isBuilt = false;

/** Builds dist/ if a source is newer; test files that start together wait for the one that builds. */
export function ensureBuilt(): void {
  if (isBuilt) return;
  const lock = join(root, 'build/dist.lock');
  mkdirSync(join(root, 'build'), { recursive: true });
  while (isStale()) {
    try {
      mkdirSync(lock);
    } catch {
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 100);
      if (Date.now() - modified(lock) > 60_000) rmSync(lock, { recursive: true, force: true });
      continue;
    }
    try {
      if (isStale())
        execFileSync(process.execPath, [join(root, 'scripts/build.mjs')], { stdio: ['ignore', 'inherit', 'inherit'] });
    } finally {
      rmdirSync(lock);
    }
  }
  isBuilt = true;
}

function isStale(): boolean {
  const built = modified(join(root, 'oclif.manifest.json'));
  const sources = readdirSync(join(root, 'src'), { recursive: true, withFileTypes: true });
  return sources.some((entry) => entry.name.endsWith('.ts') && modified(join(entry.parentPath, entry.name)) > built);
}

function modified(path: string): number {
  return statSync(path, { throwIfNoEntry: false })?.mtimeMs ?? 0;
}
