// SPDX-License-Identifier: Apache-2.0
// Loads the addon, and checks that it exports all of native.ts.
import { createRequire } from 'node:module';
import { EngineError } from './engine-error.ts';
import { addonPath, buildCommand } from './find-addon.ts';
import type { Binding, NativePolicy, NativeTrainer } from './native.ts';

/** A loaded addon and its path. */
export interface LoadedBinding {
  binding: Binding;
  path: string;
}

// Exports that a build must have: detects a build of older sources.
const EXPORTS: Record<keyof Binding, true> = {
  Policy: true,
  Trainer: true,
  abortRanks: true,
  buildInfo: true,
  hyperparameters: true,
  lossNeeds: true,
  linearPaths: true,
  linears: true,
  losses: true,
  meanLoss: true,
  mergeModel: true,
  mpiLibrary: true,
  planForm: true,
  probeDevice: true,
};
const POLICY: Record<keyof NativePolicy, true> = {
  advance: true,
  cancel: true,
  close: true,
  info: true,
  generate: true,
  layout: true,
  memoryPlan: true,
  pace: true,
  score: true,
};
const TRAINER: Record<keyof NativeTrainer, true> = {
  agree: true,
  cancel: true,
  exchange: true,
  info: true,
  leave: true,
  plan: true,
  restore: true,
  saveAdapter: true,
  saveGradients: true,
  saveState: true,
  score: true,
  step: true,
};

/** Names of the exports used here that an addon lacks. */
export function missingExports(binding: Partial<Binding>): string[] {
  const lacks = (of: unknown, names: object, prefix = '') =>
    Object.keys(names)
      .filter((name) => (of as Record<string, unknown> | undefined)?.[name] === undefined)
      .map((name) => prefix + name);
  const prototypeOf = (of: unknown) => (of as { prototype?: unknown } | undefined)?.prototype;
  return [
    ...lacks(binding, EXPORTS),
    ...lacks(prototypeOf(binding.Policy), POLICY, 'Policy.'),
    ...lacks(prototypeOf(binding.Trainer), TRAINER, 'Trainer.'),
  ];
}

const loaded = new Map<string, Binding>();

/**
 * The addon for a device: `auto` takes the CUDA build if there is one. $VPREF_ADDON names another file, for tests of other builds.
 * Throws EngineError{"addon"} with the command that builds it.
 */
export function loadBinding(device: 'auto' | 'cpu' | 'cuda'): LoadedBinding {
  const path = addonPath(device);
  let binding = loaded.get(path);
  if (binding === undefined) {
    quietOpenMp();
    try {
      binding = createRequire(import.meta.url)(path) as Binding;
    } catch (cause) {
      const reason = (cause as Error).message.split('\n')[0];
      throw new EngineError('addon', `${path}: cannot be loaded: ${reason}; rebuild it: ${buildCommand(path)}`, {
        cause,
      });
    }
    const missing = missingExports(binding);
    if (missing.length > 0)
      throw new EngineError(
        'addon',
        `${path}: was built from other sources than these commands (missing: ${missing.join(', ')}); rebuild it: ${buildCommand(path)}`,
      );
    loaded.set(path, binding);
  }
  return { binding, path };
}

// oneDNN's threads are OpenMP's. By default they spin at the end of every loop. If other programs use the same cores, a step then waits for full
// scheduler slices: ten times slower on a busy machine, and no faster on an idle one. Read once, when the library is loaded.
function quietOpenMp(): void {
  if (process.env.OMP_WAIT_POLICY === undefined && process.env.GOMP_SPINCOUNT === undefined)
    process.env.OMP_WAIT_POLICY = 'passive';
}
