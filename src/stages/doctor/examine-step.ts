// SPDX-License-Identifier: Apache-2.0
// doctor's check of a training step: the trainer's memory plan for one pair. Nothing is computed.
import type { Policy } from '../../engine/policy.ts';
import type { ImageLayout } from '../../engine/requests.ts';
import type { RowSize, TrainerSettings } from '../../engine/train-requests.ts';
import { createTrainer } from '../../engine/trainer.ts';
import { UsageError } from '../../records/error.ts';

/** Settings of a training step, and the sizes of its pair. */
export interface StepToExamine {
  settings: TrainerSettings;
  /** Image tokens included; default: TEXT_TOKENS plus the image's. */
  promptTokens?: number | undefined;
  responseTokens: number;
  /** Bytes to fit into on the CPU; undefined: what is free. */
  memoryLimit?: number | undefined;
}

/** An image of the prompt, and the bytes of its crops. */
export interface StepPicture {
  layout: ImageLayout;
  pixelBytes: number;
}

/** Default text length of the prompt. */
export const TEXT_TOKENS = 64;

/** The pair's sizes, and in words. Throws UsageError for a prompt shorter than its image. */
export function pairOf(
  { settings, promptTokens, responseTokens }: StepToExamine,
  picture: StepPicture | undefined,
): { pair: RowSize; sizes: string } {
  const { numRows = 0, numFeatures = 0 } = picture?.layout ?? {};
  const prompt = promptTokens ?? TEXT_TOKENS + numRows;
  if (prompt <= numRows)
    throw new UsageError(`--prompt-tokens: expected more than the ${numRows} of the image, got ${prompt}`);
  const targets = 2 * responseTokens;
  const pixelBytes = picture?.pixelBytes ?? 0;
  const pair = { rows: prompt + targets, targets, imageRows: numRows, features: numFeatures, pixelBytes };
  const of = numRows === 0 ? ' without a picture' : ` (${numRows} of a picture)`;
  const sizes = `one pair, a prompt of ${prompt} tokens${of}, two responses of ${responseTokens}, LoRA rank ${settings.loraR}`;
  return { pair, sizes };
}

/** Whether the step fits, and its figures. Throws UsageError as pairOf does. */
export async function examineStep(
  policy: Policy,
  step: StepToExamine,
  picture: StepPicture | undefined,
): Promise<{ ok: boolean; detail: string }> {
  const { pair, sizes } = pairOf(step, picture);
  const { settings, memoryLimit } = step;
  const trainer = await createTrainer(policy, {
    settings,
    baseModel: '',
    ...(memoryLimit !== undefined && { memoryLimit }),
  });
  const { activationBytes, budget } = await trainer.plan([[pair]]);
  return { ok: activationBytes <= budget, detail: `${sizes}: ${trainer.memoryPlan()}` };
}
