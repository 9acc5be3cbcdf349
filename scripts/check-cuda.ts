// SPDX-License-Identifier: Apache-2.0
// Compiles every CUDA source for all targets of native/cmake/cuda.cmake and compares registers, stack and spills of each kernel with
// test/native/cuda-limits.txt: no spills, and at most the stack and registers of its row. --update rewrites the table; file
// names (rope.cu) restrict the check to these files.
// Skipped, with a line, if there is no nvcc. Needs no GPU.
import { execFileSync, spawn } from 'node:child_process';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { availableParallelism, tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('..', import.meta.url));
const sourceFolder = join(root, 'native/backend/cuda');
const tablePath = join(root, 'test/native/cuda-limits.txt');
const targets = ['arch=compute_80,code=sm_80', 'arch=compute_90a,code=sm_90a', 'arch=compute_90,code=compute_90'];
/** Another release of ptxas may use a few more registers. */
const registerSlack = 8;

interface Usage {
  registers: number;
  stack: number;
  spills: number;
}

function find(command: string): string | undefined {
  try {
    return execFileSync('sh', ['-c', `command -v ${command}`], { encoding: 'utf8' }).trim();
  } catch {
    return undefined;
  }
}

/** Folder of cublasLt.h: none if the compiler finds it, else pip's. */
function cublasInclude(nvcc: string): string | undefined {
  const candidates = [process.env.CUBLAS && join(process.env.CUBLAS, 'include'), join(nvcc, '../../include')];
  try {
    const site = execFileSync('python3', ['-c', "import sysconfig; print(sysconfig.get_paths()['purelib'])"], {
      encoding: 'utf8',
    });
    candidates.push(join(site.trim(), 'nvidia/cu13/include'));
  } catch {
    // Without Python, only the toolkit's.
  }
  candidates.push('/usr/local/cuda/include', '/usr/include');
  return candidates.find((folder) => folder && existsSync(join(folder, 'cublasLt.h'))) || undefined;
}

/** `_ZN5vpref4cuda15rms_norm_kernelIff...` -> rms_norm_kernel: the length-prefixed name with that ending. */
function kernelName(mangled: string): string {
  for (let at = 0; at < mangled.length; ++at) {
    const length = /^[1-9][0-9]*/.exec(mangled.slice(at))?.[0];
    if (length === undefined) continue;
    const name = mangled.slice(at + length.length, at + length.length + Number(length));
    if (/^[a-z]\w*_kernel$/.test(name)) return name;
    if (/^[A-Za-z_]/.test(name)) at += length.length + Number(length) - 1;
  }
  return mangled;
}

/** ptxas -v prints three lines per kernel: its name, stack and spills, registers. */
function parseUsage(log: string, file: string, usage: Map<string, Usage>): void {
  let name = '';
  for (const line of log.split('\n')) {
    const compiled = /Compiling entry function '(\w+)'/.exec(line)?.[1];
    if (compiled) name = `${file} ${kernelName(compiled)}`;
    if (name === '') continue;
    const most = usage.get(name) ?? { registers: 0, stack: 0, spills: 0 };
    usage.set(name, most);
    const frame = /(\d+) bytes stack frame, (\d+) bytes spill stores, (\d+) bytes spill loads/.exec(line);
    if (frame) {
      most.stack = Math.max(most.stack, Number(frame[1]));
      most.spills = Math.max(most.spills, Number(frame[2]) + Number(frame[3]));
    }
    const registers = /Used (\d+) registers/.exec(line)?.[1];
    if (registers) most.registers = Math.max(most.registers, Number(registers));
  }
}

function compile(command: string, args: string[]): Promise<{ code: number | null; log: string }> {
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, { stdio: ['ignore', 'pipe', 'pipe'] });
    let log = '';
    for (const stream of [child.stdout, child.stderr]) stream.on('data', (chunk) => (log += String(chunk)));
    child.on('error', reject);
    child.on('close', (code) => resolve({ code, log }));
  });
}

const nvcc = process.env.CUDACXX ?? find('nvcc');
if (!nvcc) {
  console.log('cuda: skipped (no nvcc: the kernels were run on the CPU only, by the fiber tests)');
  process.exit(0);
}
const include = cublasInclude(nvcc);
const chosen = process.argv.slice(2).filter((argument) => argument.endsWith('.cu'));
const files = readdirSync(sourceFolder)
  .filter((name) => name.endsWith('.cu') && (chosen.length === 0 || chosen.includes(name)))
  .sort();
const usage = new Map<string, Usage>();
const problems: string[] = [];
// Without bounds ptxas may use more registers per thread than fit a full block; the launch then fails, but only on a GPU.
for (const file of readdirSync(sourceFolder)) {
  for (const line of readFileSync(join(sourceFolder, file), 'utf8').split('\n'))
    if (line.includes('__global__ ') && !line.startsWith('//') && !line.includes('__launch_bounds__('))
      problems.push(`${file}: a kernel without __launch_bounds__: ${line.trim().slice(0, 80)}`);
}
const compiled: string[] = [];
const scratch = mkdtempSync(join(tmpdir(), 'vpref-cuda-'));
const ccache = find('ccache');
const queue = files.slice();
async function work(): Promise<void> {
  for (let file = queue.shift(); file !== undefined; file = queue.shift()) {
    const path = join(sourceFolder, file);
    if (!include && readFileSync(path, 'utf8').includes('#include <cublasLt.h>')) {
      console.log(`cuda: ${file} skipped (no cublasLt.h: pip install nvidia-cublas, or CUBLAS=DIR)`);
      continue;
    }
    const args = ['-std=c++17', '-O3', '-DVPREF_CUDA', '-I', join(root, 'native'), ...(include ? ['-I', include] : [])];
    args.push(...targets.flatMap((target) => ['-gencode', target]), '-Xptxas', '-v', '-Xcompiler', '-fPIC');
    args.push('-c', path, '-o', join(scratch, `${file}.o`));
    const { code, log } = await compile(ccache ?? nvcc!, ccache ? [nvcc!, ...args] : args);
    if (code !== 0) problems.push(`${file}: nvcc failed\n${log.split('\n').slice(0, 40).join('\n')}`);
    else parseUsage(log, file, usage);
    compiled.push(file);
  }
}
await Promise.all(Array.from({ length: Math.min(2, availableParallelism()) }, work));
rmSync(scratch, { recursive: true });

const head = readFileSync(tablePath, 'utf8')
  .split('\n')
  .filter((line) => line.startsWith('#'));
const limits = new Map<string, Usage>();
for (const line of readFileSync(tablePath, 'utf8').split('\n')) {
  const fields = line.split(/\s+/);
  if (!line.startsWith('#') && fields.length >= 4)
    limits.set(`${fields[0]} ${fields[1]}`, { registers: Number(fields[2]), stack: Number(fields[3]), spills: 0 });
}
if (process.argv.includes('--update') && problems.length === 0) {
  for (const name of limits.keys()) if (compiled.includes(name.split(' ')[0]!)) limits.delete(name);
  for (const [name, used] of usage) limits.set(name, used);
  const rows = [...limits]
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([name, used]) => `${name} ${used.registers} ${used.stack}`);
  writeFileSync(tablePath, `${[...head, ...rows].join('\n')}\n`);
}
for (const [name, used] of [...usage].sort()) {
  const limit = limits.get(name);
  if (used.spills > 0) problems.push(`${name}: spills ${used.spills} bytes of registers, expected none`);
  if (!limit) {
    problems.push(`${name}: has no row in test/native/cuda-limits.txt (scripts/check-cuda.ts --update)`);
    continue;
  }
  if (used.registers > limit.registers + registerSlack)
    problems.push(`${name}: expected at most ${limit.registers} registers, got ${used.registers}`);
  if (used.stack > limit.stack)
    problems.push(`${name}: expected a stack of at most ${limit.stack} bytes, got ${used.stack}`);
}
for (const name of limits.keys())
  if (compiled.includes(name.split(' ')[0]!) && !usage.has(name) && problems.length === 0)
    problems.push(`${name}: in test/native/cuda-limits.txt, but there is no such kernel`);
for (const problem of problems) console.error(problem);
console.log(
  `cuda: ${compiled.length} sources for ${targets.length} targets, ${usage.size} kernels, ${problems.length} problems`,
);
process.exitCode = problems.length > 0 ? 1 : 0;
