// SPDX-License-Identifier: Apache-2.0
// One view of one image: draws and applies operations, or applies recorded ones.
import type { Image, Size } from '../../pixels/image.ts';
import { applyPixelOp, sizeAfter } from '../../pixels/ops.ts';
import { type RandomStream, randomStream } from '../../records/random.ts';
import type { ViewOp } from '../../records/record.ts';
import { drawChance } from './recipe.ts';
import { RECIPES } from './recipes.ts';
import { drawRanges } from './single.ts';
import type { StepSpec, ViewSpec } from './view-spec.ts';

export interface MadeView {
  /** Operations with all drawn parameters. */
  ops: ViewOp[];
  /** The image after the pixel operations. The engine adds diffusion noise. */
  image: Image;
}

/** Draws the view's operations for this image and applies them. */
export function drawView(image: Image, spec: ViewSpec, random: RandomStream): MadeView {
  const ops = drawViewOps(image, spec, random);
  return { ops, image: replayView(image, ops) };
}

/** The view's operations for an image of this size. Reads no pixel. */
export function drawViewOps(image: Size, { steps }: ViewSpec, random: RandomStream): ViewOp[] {
  const ops: ViewOp[] = [];
  let size = image;
  for (const step of steps) {
    const drawn = drawStep(size, step, random);
    ops.push(...drawn);
    for (const op of drawn) if (op.op !== 'diffusion') size = sizeAfter(size, op);
  }
  return ops;
}

/** The operations of all views for images of these sizes, in the order of the views. With several images, each has its own operations, marked with its number. */
export function drawViews(
  sizes: readonly Size[],
  views: readonly ViewSpec[],
  { id, seed }: { id: string; seed: number },
): ViewOp[][] {
  return views.map((spec) => {
    const random = randomStream(seed, id, spec.name);
    const perImage = sizes.map((size) => drawViewOps(size, spec, random));
    // All images of a view share one noise recipe: the first draw counts.
    const noise = perImage[0]?.filter(isNoise) ?? [];
    const own = perImage.flatMap((ops, index) =>
      ops.filter((op) => !isNoise(op)).map((op) => (sizes.length > 1 ? { ...op, image: index } : op)),
    );
    return [...own, ...noise];
  });
}

/** The recorded operations of one image of several. */
export function opsOfImage(ops: readonly ViewOp[], index: number): ViewOp[] {
  return ops.filter((op) => op.image === undefined || op.image === index);
}

export function isNoise({ op }: ViewOp): boolean {
  return op === 'diffusion';
}

/** The operations of one recipe for an image of this size. */
export function drawStep(size: Size, { recipe: name, p, values }: StepSpec, random: RandomStream): ViewOp[] {
  const recipe = RECIPES.get(name)!;
  if (p < 1 && !drawChance(random, p)) return [];
  return recipe.draw(size, random, drawRanges(recipe.parameters, random, values));
}

/** Recreates the same pixels from recorded operations. */
export function replayView(image: Image, ops: readonly ViewOp[]): Image {
  return ops.reduce((current, op) => (op.op === 'diffusion' ? current : applyPixelOp(current, op)), image);
}

/** Whether the view changes pixels before the engine. If not, it has no image files. */
export function changesPixels({ steps }: ViewSpec): boolean {
  return steps.some(({ recipe }) => recipe !== 'diffusion');
}
