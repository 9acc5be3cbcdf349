// SPDX-License-Identifier: Apache-2.0
// From the flags of train to the settings of a run; what excludes each other is said here.
import type { TrainerSettings } from '../engine/train-requests.ts';
import { UsageError } from '../records/error.ts';
import type { TrainOptions } from '../stages/train/index.ts';
import { type LossFlagValues, lossOptions } from './loss-flags.ts';

export interface TrainFlagValues extends LossFlagValues {
  output?: string | undefined;
  method: 'dpo' | 'sft';
  loss?: string | undefined;
  epochs: number;
  'lora-r': number;
  'lora-alpha'?: number | undefined;
  rslora?: boolean | undefined;
  'lora-targets': string;
  'init-adapter'?: string | undefined;
  'train-projector'?: boolean | undefined;
  'projector-lr': number;
  'train-language-model'?: boolean | undefined;
  lr?: number | undefined;
  'lr-schedule': 'cosine' | 'linear' | 'constant';
  'warmup-ratio': number;
  'weight-decay': number;
  'max-grad-norm': number;
  'batch-size': number;
  'batch-tokens'?: number | undefined;
  'no-shuffle'?: boolean | undefined;
  'loss-on': 'last' | 'all';
  recompute: 'auto' | '0' | '1' | '2' | '3';
  'save-every': number;
  'keep-checkpoints': number;
  'save-gradients'?: string | undefined;
  seed: number;
}

/** Learning rates where none is given: trl's order of size for DPO with LoRA, LLaVA-1.5's LoRA recipe for SFT. */
const DEFAULT_LR = { dpo: 5e-6, sft: 2e-4 };
const DEFAULT_MICRO_BATCH_TOKENS = 4096;

export interface TrainPlan {
  settings: Omit<TrainerSettings, 'totalSteps'>;
  options: Pick<
    TrainOptions,
    'dir' | 'batchSize' | 'shuffle' | 'saveEvery' | 'keepCheckpoints' | 'lossOn' | 'saveGradients'
  >;
}

/** Throws UsageError for flags that do not go together. */
export function trainPlan(flags: TrainFlagValues, given: ReadonlySet<string>): TrainPlan {
  if (flags.output === undefined) throw new UsageError('-o: expected the directory for the adapter, got nothing');
  const trainLanguageModel = flags['train-language-model'] === true;
  const initAdapter = flags['init-adapter'];
  if (trainLanguageModel && (given.has('lora-r') || initAdapter !== undefined))
    throw new UsageError('--train-language-model and an adapter exclude each other');
  if (initAdapter !== undefined)
    for (const name of ['lora-r', 'lora-alpha', 'lora-targets', 'rslora'])
      if (given.has(name)) throw new UsageError(`--${name}: is what --init-adapter says, got it too`);
  for (const name of ['epochs', 'lora-alpha', 'beta'] as const)
    if (flags[name] === 0) throw new UsageError(`--${name}: expected a number above 0, got 0`);
  const loraR = trainLanguageModel ? 0 : flags['lora-r'];
  const settings = {
    loss: flags.method === 'sft' ? 'sft' : (flags.loss ?? 'sigmoid'),
    lossOptions: lossOptions(flags),
    loraR,
    loraAlpha: flags['lora-alpha'] ?? 2 * loraR,
    rslora: flags.rslora === true,
    loraTargets: flags['lora-targets'].split(',').map((name) => name.trim()),
    trainProjector: flags['train-projector'] === true,
    trainLanguageModel,
    lr: flags.lr ?? DEFAULT_LR[flags.method],
    projectorLr: flags['projector-lr'],
    lrSchedule: flags['lr-schedule'],
    warmupRatio: flags['warmup-ratio'],
    weightDecay: flags['weight-decay'],
    maxGradNorm: flags['max-grad-norm'],
    microBatchTokens: flags['batch-tokens'] ?? DEFAULT_MICRO_BATCH_TOKENS,
    recompute: flags.recompute === 'auto' ? -1 : Number(flags.recompute),
    seed: flags.seed,
  };
  if (flags.method === 'sft' && given.has('loss') && flags.loss !== 'sft')
    throw new UsageError(`--loss: expected sft for --method sft, got ${flags.loss}`);
  if (flags['loss-on'] === 'all' && flags.method !== 'sft')
    throw new UsageError('--loss-on all: is for --method sft only');
  const options = {
    dir: flags.output,
    batchSize: flags['batch-size'],
    shuffle: flags['no-shuffle'] !== true,
    saveEvery: flags['save-every'],
    keepCheckpoints: flags['keep-checkpoints'],
    lossOn: flags['loss-on'],
    ...(flags['save-gradients'] !== undefined && { saveGradients: flags['save-gradients'] }),
  };
  return { settings, options };
}
