// SPDX-License-Identifier: Apache-2.0
// All recipes that --op can name.
import { NUM_DIFFUSION_STEPS } from '../../pixels/diffusion.ts';
import { byol, flip, moco, mocoV2, mocoV3, rrcrop, simclr } from './contrastive.ts';
import { autoaugment, randaugment } from './policy.ts';
import type { Recipe } from './recipe.ts';
import { singleRecipes } from './single.ts';

/** Noise that the engine adds; only its seed is drawn here, and its step is given. */
const diffusion: Recipe = {
  summary: "VCD's diffusion noise on the normalised tensor, added by the engine",
  parameters: { step: { kind: 'number', min: 0, max: NUM_DIFFUSION_STEPS - 1, whole: true, default: 800 } },
  draw: (_size, random, { step }) => [{ op: 'diffusion', step, seed: drawSeed(random) }],
};

/** Recipes by name; random ones first. */
export const RECIPES: ReadonlyMap<string, Recipe> = new Map(
  Object.entries({
    flip,
    rrcrop,
    autoaugment,
    randaugment,
    moco,
    'moco-v2': mocoV2,
    'moco-v3': mocoV3,
    byol,
    simclr,
    diffusion,
    ...singleRecipes(),
  }),
);

/** A whole number below 2^53. */
function drawSeed(random: { nextUint32(): number }): number {
  const high = random.nextUint32() >>> 11;
  return high * 2 ** 32 + random.nextUint32();
}
