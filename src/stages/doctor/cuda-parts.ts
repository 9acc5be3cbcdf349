// SPDX-License-Identifier: Apache-2.0
// The CUDA parts of a machine: the driver that runs the engine, and the compiler and library that build it.
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { delimiter, join } from 'node:path';

export interface CudaParts {
  /** Version of NVIDIA's kernel driver. */
  driver?: string;
  /** Path of nvcc. */
  nvcc?: string;
  /** Folder of libcublasLt. */
  cublas?: string;
}

/** Searches the installers' folders below `root` (the file system's root except in tests). */
export function findCudaParts(env: NodeJS.ProcessEnv, root = '/'): CudaParts {
  const toolkits = [env.CUDA_HOME, env.CUDA_PATH, join(root, 'usr/local/cuda')].filter((dir) => dir !== undefined);
  const programs = [...(env.PATH ?? '').split(delimiter).filter(Boolean), ...toolkits.map((dir) => join(dir, 'bin'))];
  const nvcc = [env.CUDACXX, ...programs.map((dir) => join(dir, 'nvcc'))].find((path) => path && existsSync(path));
  const libraries = [
    ...(env.LD_LIBRARY_PATH ?? '').split(delimiter).filter(Boolean),
    ...toolkits.map((dir) => join(dir, 'lib64')),
    join(root, 'usr/lib/x86_64-linux-gnu'),
    join(root, 'usr/lib/aarch64-linux-gnu'),
    join(root, 'usr/lib64'),
  ];
  const cublas = libraries.find((dir) => filesOf(dir).some((name) => name.startsWith('libcublasLt.so')));
  const driver = driverVersion(join(root, 'proc/driver/nvidia/version'));
  return { ...(driver && { driver }), ...(nvcc && { nvcc }), ...(cublas && { cublas }) };
}

/** The first step to compute on the GPU. `built`: whether the CUDA engine exists. */
export function cudaRemedy({ driver, nvcc, cublas }: CudaParts, built: boolean): string {
  if (driver === undefined) return 'needs an NVIDIA GPU and its driver (nvidia-smi must list it)';
  if (built) return 'check the GPU with nvidia-smi';
  if (nvcc === undefined) return 'install the CUDA toolkit (nvcc), or name it: CUDACXX=/path/to/nvcc make cuda';
  if (cublas === undefined)
    return 'make cuda; if it misses cuBLASLt: libcublas-dev of the toolkit, or pip install nvidia-cublas';
  return 'make cuda';
}

/** One line for people. */
export function describeCudaParts({ driver, nvcc, cublas }: CudaParts): string {
  return [
    driver ? `driver ${driver}` : 'no NVIDIA driver',
    nvcc ? `compiler ${nvcc}` : 'no nvcc',
    cublas ? `cuBLASLt in ${cublas}` : 'no cuBLASLt in the usual folders',
  ].join(', ');
}

function driverVersion(path: string): string | undefined {
  if (!existsSync(path)) return undefined;
  // NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  580.159.03  Release Build  ...
  return /\s(\d+\.\d+(?:\.\d+)?)\s/.exec(readFileSync(path, 'utf8'))?.[1] ?? 'of unknown version';
}

function filesOf(dir: string): string[] {
  try {
    return readdirSync(dir);
  } catch {
    return [];
  }
}
