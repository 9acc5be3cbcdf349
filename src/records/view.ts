// SPDX-License-Identifier: Apache-2.0
// Views of a record as later stages read them: which image files, and which noise the engine adds to the normalised tensor.
import { RunError } from './error.ts';
import type { View, VprefRecord } from './record.ts';

/** The name under which the clean images are known among the views. */
export const ORIGINAL_VIEW = 'original';

/** The recipe of a `diffusion` operation: step of the schedule (0..999), seed of the generator (below 2^53). */
export interface DiffusionNoise {
  step: number;
  seed: number;
}

export interface ViewInputs {
  images: string[];
  noise?: DiffusionNoise;
}

/** What a model is shown for a view, or for the clean images. Throws RunError('view') when there is no such view. */
export function viewInputs(record: VprefRecord, name: string): ViewInputs {
  const clean = record.images ?? [];
  if (name === ORIGINAL_VIEW) return { images: clean };
  const view = record.views?.find((one) => one.name === name);
  if (view === undefined) {
    const names = [ORIGINAL_VIEW, ...(record.views ?? []).map((one) => one.name)].join(' ');
    throw new RunError('view', `views: expected one named ${JSON.stringify(name)}, got ${names}`);
  }
  const noise = viewNoise(view);
  return { images: view.images ?? clean, ...(noise && { noise }) };
}

/** The view's diffusion recipe, if it has one. */
export function viewNoise(view: View): DiffusionNoise | undefined {
  const op = view.ops.find((one) => one.op === 'diffusion');
  if (op === undefined) return undefined;
  const { step, seed } = op;
  const isStep = Number.isInteger(step) && (step as number) >= 0 && (step as number) <= 999;
  if (!isStep || !Number.isSafeInteger(seed) || (seed as number) < 0) {
    throw new RunError(
      'view',
      `view ${view.name}: expected diffusion with step in 0..999 and a seed, got ${JSON.stringify(op)}`,
    );
  }
  return { step: step as number, seed: seed as number };
}
