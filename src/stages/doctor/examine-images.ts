// SPDX-License-Identifier: Apache-2.0
// doctor's checks of images: how the model resizes them, and the number of tokens of each.
import type { Family, ImagePlan, Size } from '../../../families/family.ts';
import type { Policy } from '../../engine/policy.ts';
import { imageSize } from '../../pixels/image-size.ts';
import { imageIds } from '../../text/prompt-ids.ts';
import type { ModelTokenizer } from '../../text/tokenizer.ts';
import type { StepPicture } from './examine-step.ts';

/** A model that takes images, in memory. */
export interface ImageModel {
  family: Family;
  plan: ImagePlan;
  policy: Policy;
  tokenizer: ModelTokenizer;
}

/** Sizes and limits, and the tokens per image if all images have as many. */
export function describeImages({ family, plan, policy }: ImageModel): string {
  const vision = family.vision!;
  if (!vision.hasOneSize) return vision.describe(plan);
  const crops = vision.cropSizes({ height: 1, width: 1 }, plan);
  return `${vision.describe(plan)}, ${policy.layout({ ...crops[0]!, crops }).numRows} tokens each`;
}

/** An image's size in a prompt; undefined: of any image, if all have the same. Throws PixelError as describePicture does. */
export async function pictureOf(
  file: string | undefined,
  { family, plan, policy }: ImageModel,
): Promise<StepPicture | undefined> {
  const { cropSizes, hasOneSize } = family.vision!;
  if (file === undefined && !hasOneSize) return undefined;
  const size = file === undefined ? { height: 1, width: 1 } : await imageSize(file);
  const crops = cropSizes(size, plan);
  const pixelBytes = crops.reduce((sum, { height, width }) => sum + 3 * height * width, 0);
  return { layout: policy.layout({ ...(hasOneSize ? crops[0]! : size), crops }), pixelBytes };
}

/** The tokens of one image. Throws PixelError for a file that is not an image, or a shape that the family refuses. */
export async function describePicture(file: string, { family, plan, policy, tokenizer }: ImageModel): Promise<string> {
  const { cropSizes, expansion, imageToken } = family.vision!;
  const size = await imageSize(file);
  const crops = cropSizes(size, plan);
  const { runs, numRows } = policy.layout({ ...size, crops });
  const tokens = { id: policy.info.vision!.imageTokenId, token: imageToken };
  const numText = imageIds(expansion(size, plan), runs, tokens, tokenizer).length - numRows;
  const around = numText === 0 ? '' : ` and ${numText} of text between them`;
  return `${file}: ${sides(size)} pixels become ${cropsText(crops)} (${plan.mode}): ${numRows} image tokens${around}`;
}

function cropsText(crops: readonly Size[]): string {
  const kinds = new Map<string, number>();
  for (const crop of crops) kinds.set(sides(crop), (kinds.get(sides(crop)) ?? 0) + 1);
  return [...kinds].map(([text, count]) => (count === 1 ? text : `${count} of ${text}`)).join(', ');
}

const sides = ({ height, width }: Size) => `${width} x ${height}`;
