// SPDX-License-Identifier: Apache-2.0
// doctor's check of a training step: the trainer's memory plan for one pair. Nothing is computed.
import type { Policy } from '../../engine/policy.ts';
import type { ImageLayout } from '../../engine/requests.ts';
import type { TrainerSettings } from '../../engine/train-requests.ts';
import { createTrainer } from '../../engine/trainer.ts';
import { UsageError } from '../../records/error.ts';

/** Settings of a training step, and the sizes of its pair. */
export interface StepToExamine {
  settings: TrainerSettings;
  /** Image tokens included; default: TEXT_TOKENS plus the image's. */
  promptTokens?: number | undefined;
  responseTokens: number;
}

/** An image of the prompt, and the bytes of its crops. */
export interface StepPicture {
  layout: ImageLayout;
  pixelBytes: number;
}

/** Default text length of the prompt. */
export const TEXT_TOKENS = 64;

/** Whether the step fits, and its figures. Throws UsageError for a prompt shorter than its image. */
export async function examineStep(
  policy: Policy,
  { settings, promptTokens, responseTokens }: StepToExamine,
  picture: StepPicture | undefined,
): Promise<{ ok: boolean; detail: string }> {
  const { numRows = 0, numFeatures = 0 } = picture?.layout ?? {};
  const prompt = promptTokens ?? TEXT_TOKENS + numRows;
  if (prompt <= numRows)
    throw new UsageError(`--prompt-tokens: expected more than the ${numRows} of the image, got ${prompt}`);
  const targets = 2 * responseTokens;
  const pixelBytes = picture?.pixelBytes ?? 0;
  const trainer = await createTrainer(policy, { settings, baseModel: '' });
  const pair = { rows: prompt + targets, targets, imageRows: numRows, features: numFeatures, pixelBytes };
  const { activationBytes, budget } = await trainer.plan([[pair]]);
  const of = numRows === 0 ? ' without a picture' : ` (${numRows} of a picture)`;
  const sizes = `one pair, a prompt of ${prompt} tokens${of}, two responses of ${responseTokens}, LoRA rank ${settings.loraR}`;
  return { ok: activationBytes <= budget, detail: `${sizes}: ${trainer.memoryPlan()}` };
}
