// SPDX-License-Identifier: Apache-2.0
// Views of a record as later stages read them: image files, and noise that the engine adds to the normalised tensor.
import { FieldError } from './error.ts';
import type { View, ViewOp, VprefRecord } from './record.ts';

/** The view name of the clean images. */
export const ORIGINAL_VIEW = 'original';

/** The recipe of a `diffusion` operation: step of the schedule (0..999), seed of the generator (below 2^53). */
export interface DiffusionNoise {
  step: number;
  seed: number;
}

export interface ViewInputs {
  images: string[];
  /** Pixel operations still to apply to each image; absent if the files include them or there are none. */
  ops?: ViewOp[][];
  noise?: DiffusionNoise;
}

/** The images of a view, or the clean images. Throws FieldError{"view"} if there is no such view. */
export function viewInputs(record: VprefRecord, name: string): ViewInputs {
  const clean = record.images ?? [];
  if (name === ORIGINAL_VIEW) return { images: clean };
  const view = record.views?.find((one) => one.name === name);
  if (view === undefined) {
    const names = [ORIGINAL_VIEW, ...(record.views ?? []).map((one) => one.name)].join(' ');
    throw new FieldError('view', 'views', `one named ${JSON.stringify(name)}`, names);
  }
  const noise = viewNoise(view);
  return { ...viewImages(view, clean), ...(noise && { noise }) };
}

/** The view's image files, or the clean images with the view's operations. */
export function viewImages(view: View, clean: string[]): Pick<ViewInputs, 'images' | 'ops'> {
  if (view.images !== undefined) return { images: view.images };
  return { images: clean, ...(hasPixelOps(view) && { ops: clean.map((_, index) => pixelOps(view, index)) }) };
}

/** Whether the view changes pixels before the engine adds noise. */
export function hasPixelOps({ ops }: View): boolean {
  return ops.some(({ op }) => op !== 'diffusion');
}

// With several images, each has its own operations, marked with its number.
function pixelOps({ ops }: View, image: number): ViewOp[] {
  return ops.filter((op) => op.op !== 'diffusion' && (op.image === undefined || op.image === image));
}

/** The view's diffusion recipe, if it has one. */
function viewNoise(view: View): DiffusionNoise | undefined {
  const op = view.ops.find((one) => one.op === 'diffusion');
  if (op === undefined) return undefined;
  const { step, seed } = op;
  const isStep = Number.isInteger(step) && (step as number) >= 0 && (step as number) <= 999;
  if (!isStep || !Number.isSafeInteger(seed) || (seed as number) < 0) {
    const field = `views: ${view.name}`;
    throw new FieldError('view', field, 'diffusion with step in 0..999 and a seed', JSON.stringify(op));
  }
  return { step: step as number, seed: seed as number };
}
