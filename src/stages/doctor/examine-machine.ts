// SPDX-License-Identifier: Apache-2.0
// The checks of the machine: Node version, cores, memory, cache, and the engine on each device.

import { accessSync, constants, existsSync } from 'node:fs';
import { availableParallelism, cpus, freemem, totalmem } from 'node:os';
import { dirname } from 'node:path';
import { loadBinding } from '../../engine/binding.ts';
import { addonRemedy } from '../../engine/build-addon.ts';
import { addonOrigin, buildCommand, isPrebuilt } from '../../engine/find-addon.ts';
import type { Binding } from '../../engine/native.ts';
import { count } from '../../records/count.ts';
import { attempt, type Check, gibibytes } from './check.ts';
import { cudaRemedy, describeCudaParts, findCudaParts } from './cuda-parts.ts';

/** The machine's checks, fastest first. `cacheFolder`: annotate's cache. */
export async function* examine(cacheFolder: string): AsyncGenerator<Check> {
  yield node(process.versions.node);
  yield {
    check: 'cpu',
    ok: true,
    detail: `${count(availableParallelism(), 'core')}, ${cpus()[0]?.model ?? process.arch}`,
  };
  yield { check: 'memory', ok: true, detail: `${gibibytes(freemem())} free of ${gibibytes(totalmem())}` };
  yield cache(cacheFolder);
  const addon = await attempt('addon', addonRemedy(), () => loadBinding('auto'));
  if ('check' in addon) {
    yield addon;
    return;
  }
  const { binding, path } = addon;
  const info = binding.buildInfo();
  const { matrixLibrary, cpuFeatures } = info;
  yield {
    check: 'addon',
    ok: true,
    detail: `${path} (${addonOrigin(path)}): ${info.backends.join(', ')}; matrix products by ${matrixLibrary}; CPU has ${cpuFeatures.join(' ') || 'no SIMD that is used'}`,
  };
  yield probe('cpu', binding);
  yield info.backends.includes('cuda') ? probe('cuda', binding) : cudaNotBuilt();
  yield mpi(binding, path);
}

function node(version: string): Check {
  const [major = 0, minor = 0] = version.split('.').map(Number);
  const ok = major > 20 || (major === 20 && minor >= 19);
  return { check: 'node', ok, detail: version, ...(!ok && { remedy: 'install Node 20.19 or later' }) };
}

function cache(folder: string): Check {
  let existing = folder;
  while (!existsSync(existing) && dirname(existing) !== existing) existing = dirname(existing);
  try {
    accessSync(existing, constants.W_OK);
    return { check: 'cache', ok: true, detail: folder };
  } catch {
    return {
      check: 'cache',
      ok: false,
      detail: `${existing} cannot be written`,
      remedy: 'set XDG_CACHE_HOME, or annotate --cache DIR',
    };
  }
}

// f32 sums of 96 products of numbers up to 1, in any order.
const PROBE_TOLERANCE = 1e-4;

function probe(device: 'cpu' | 'cuda', binding: Binding): Check {
  const check = device === 'cpu' ? 'engine' : device;
  try {
    const { op, maxError, seconds } = binding.probeDevice(device);
    const ok = maxError <= PROBE_TOLERANCE;
    const detail = `${op}: error ${maxError.toExponential(1)} in ${(seconds * 1000).toFixed(1)} ms`;
    return {
      check,
      ok,
      detail,
      ...(!ok && { remedy: 'report this: the engine computes wrong results on this machine' }),
    };
  } catch (cause) {
    const parts = findCudaParts(process.env);
    const detail = (cause as Error).message;
    if (device === 'cpu')
      return { check, ok: false, detail, remedy: 'build the engine again: scripts/build-native.sh' };
    return { check, ok: false, detail: `${detail}; ${describeCudaParts(parts)}`, remedy: cudaRemedy(parts, true) };
  }
}

// Without MPI, training has one rank.
function mpi(binding: Binding, addon: string): Check {
  try {
    return { check: 'mpi', ok: true, detail: `${binding.mpiLibrary()}: training may have several ranks` };
  } catch (cause) {
    const [detail = '', remedy = 'build again: scripts/build-native.sh'] = (cause as Error).message.split('; ');
    // The bundled engine uses the machine's MPI libraries.
    return notBuilt('mpi', detail, isPrebuilt(addon) ? `build the engine here: ${buildCommand(addon)}` : remedy);
  }
}

function cudaNotBuilt(): Check {
  const parts = findCudaParts(process.env);
  return notBuilt('cuda', `built for the CPU only; ${describeCudaParts(parts)}`, cudaRemedy(parts, false));
}

function notBuilt(check: string, detail: string, remedy: string): Check {
  return { check, ok: false, detail, remedy };
}
