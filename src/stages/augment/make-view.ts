// SPDX-License-Identifier: Apache-2.0
// One view of one image: operations drawn and applied, or applied again as recorded.
import type { Image } from '../../pixels/image.ts';
import { applyPixelOp } from '../../pixels/ops.ts';
import type { RandomStream } from '../../records/random.ts';
import type { ViewOp } from '../../records/record.ts';
import { drawChance, type Size } from './recipe.ts';
import { RECIPES } from './recipes.ts';
import { drawRanges } from './single.ts';
import type { StepSpec, ViewSpec } from './view-spec.ts';

export interface MadeView {
  /** Every drawn parameter is in here. */
  ops: ViewOp[];
  /** After the pixel operations; diffusion is left to the engine. */
  image: Image;
}

/** Draws the view's operations for this image and applies them. */
export function drawView(image: Image, { steps }: ViewSpec, random: RandomStream): MadeView {
  const ops: ViewOp[] = [];
  let current = image;
  for (const step of steps) {
    const drawn = drawStep(current, step, random);
    ops.push(...drawn);
    current = replayView(current, drawn);
  }
  return { ops, image: current };
}

/** The operations of one recipe for an image of this size. */
export function drawStep(size: Size, { recipe: name, p, values }: StepSpec, random: RandomStream): ViewOp[] {
  const recipe = RECIPES.get(name)!;
  if (p < 1 && !drawChance(random, p)) return [];
  return recipe.draw(size, random, drawRanges(recipe.parameters, random, values));
}

/** The same pixels again from recorded operations. */
export function replayView(image: Image, ops: readonly ViewOp[]): Image {
  return ops.reduce((current, op) => (op.op === 'diffusion' ? current : applyPixelOp(current, op)), image);
}

/** Whether the view changes pixels before the engine; if not, it has no image files of its own. */
export function changesPixels({ steps }: ViewSpec): boolean {
  return steps.some(({ recipe }) => recipe !== 'diffusion');
}
