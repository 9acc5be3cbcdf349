// SPDX-License-Identifier: Apache-2.0
// What a checkpoint takes in one form of its weights, for sampling and for a training step, before any weight is read.
import { loadBinding } from './binding.ts';
import { fromEngineNow } from './engine-error.ts';
import type { NativeFormPlan } from './native.ts';
import { nativeOptions, type PolicyOptions } from './policy.ts';
import type { RowSize, TrainerSettings } from './train-requests.ts';
import { LATER_BYTES, MEMORY_SHARE } from './trainer.ts';

export interface FormPlan extends Omit<NativeFormPlan, 'freeBytes' | 'totalBytes'> {
  /** What there is for it. */
  memoryBytes: number;
}

export interface FormStep {
  settings: TrainerSettings;
  pair: RowSize;
  /** Tokens of one answer with its prompt. */
  cachedTokens: number;
  /** Maximum bytes of the process on the CPU; undefined: what the machine or its control group has free. */
  memoryLimit?: number | undefined;
}

/** The plan of a process that does nothing else. Throws EngineError. */
export function planForm(options: Omit<PolicyOptions, 'tokenBytes'>, device: 'cpu' | 'cuda', step: FormStep): FormPlan {
  const { binding } = loadBinding(device);
  const { pair, cachedTokens, memoryLimit } = step;
  const process_ = process.memoryUsage.rss();
  const share = memoryLimit === undefined ? MEMORY_SHARE : 1;
  const left = memoryLimit === undefined ? process.availableMemory() : memoryLimit - process_;
  const {
    freeBytes,
    totalBytes: _,
    ...plan
  } = fromEngineNow(() =>
    binding.planForm(nativeOptions({ ...options, tokenBytes: [] }, device), {
      settings: { ...step.settings, loraRanks: [], loraAlphas: [], memoryBudget: 0, numRanks: 1, zero: 0 },
      pair: Int32Array.of(pair.rows, pair.targets, pair.imageRows, pair.features, pair.pixelBytes),
      cachedTokens,
      freeBytes: left - LATER_BYTES / share,
      share,
    }),
  );
  if (device === 'cuda') return { ...plan, memoryBytes: freeBytes };
  const own = process_ + LATER_BYTES;
  return {
    ...plan,
    samplingBytes: plan.samplingBytes + own,
    stepBytes: plan.stepBytes + own,
    memoryBytes: memoryLimit ?? left + process_,
  };
}
