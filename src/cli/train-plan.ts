// SPDX-License-Identifier: Apache-2.0
// Converts the flags of train to the settings of a run; refuses flags that exclude each other.
import type { LoraPattern } from '../engine/lora-shapes.ts';
import type { TrainerSettings } from '../engine/train-requests.ts';
import { UsageError } from '../records/error.ts';
import { lossFlags, lossOptions } from './loss-flags.ts';
import { ALL_LINEAR, loopFlags, type TrainFlags, trainerFlags, valuesOf } from './train-flags.ts';

/** Default learning rates: trl's magnitude for DPO with LoRA, LLaVA-1.5's LoRA recipe for SFT. */
const DEFAULT_LR = { dpo: 5e-6, sft: 2e-4 };
const DEFAULT_MICRO_BATCH_TOKENS = 4096;

/** Settings of the trainer and options of the loop. Throws UsageError for flags that exclude each other. */
export function trainPlan(flags: TrainFlags, given: ReadonlySet<string>) {
  if (flags.output === undefined) throw new UsageError('-o: expected the directory for the adapter, got nothing');
  const trainLanguageModel = flags['train-language-model'] === true;
  const initAdapter = flags['init-adapter'];
  if (trainLanguageModel && (given.has('lora-r') || given.has('lora-pattern') || initAdapter !== undefined))
    throw new UsageError('--train-language-model: expected no --lora-r, --lora-pattern or --init-adapter with it');
  if (initAdapter !== undefined)
    for (const name of ['lora-r', 'lora-alpha', 'lora-targets', 'lora-pattern', 'rslora'])
      if (given.has(name)) throw new UsageError(`--${name}: not allowed with --init-adapter, which sets it`);
  const dropout = flags['lora-dropout'];
  if (dropout >= 1) throw new UsageError(`--lora-dropout: expected a number below 1, got ${dropout}`);
  if (dropout > 0 && (trainLanguageModel || (flags['lora-r'] === 0 && initAdapter === undefined)))
    throw new UsageError('--lora-dropout: needs an adapter to train');
  if (given.has('warmup-steps') && given.has('warmup-ratio'))
    throw new UsageError('--warmup-steps: expected no --warmup-ratio with it, got both');
  if (flags.eval === undefined)
    for (const name of ['eval-every', 'early-stop', 'keep-best'])
      if (given.has(name)) throw new UsageError(`--${name}: expected --eval FILE with it`);
  if (given.has('sample-every') && flags['sample-prompts'] === undefined)
    throw new UsageError('--sample-every: expected --sample-prompts FILE with it');
  const loraR = trainLanguageModel ? 0 : flags['lora-r'];
  const settings = {
    loss: flags.method === 'sft' ? 'sft' : (flags.loss ?? 'sigmoid'),
    lossOptions: lossOptions(flags),
    ...valuesOf(trainerFlags, flags),
    loraR,
    loraAlpha: flags['lora-alpha'] ?? 2 * loraR,
    loraTargets: loraTargets(flags['lora-targets']),
    ...(flags['lora-pattern'] && { loraPatterns: flags['lora-pattern'].map(loraPattern) }),
    lr: flags.lr ?? DEFAULT_LR[flags.method],
    microBatchTokens: flags['batch-tokens'] ?? DEFAULT_MICRO_BATCH_TOKENS,
    recompute: flags.recompute === 'auto' ? -1 : Number(flags.recompute),
    seed: flags.seed,
  };
  if (flags.method === 'sft' && given.has('loss') && flags.loss !== 'sft')
    throw new UsageError(`--loss: expected sft for --method sft, got ${flags.loss}`);
  if (flags['loss-on'] === 'all' && flags.method !== 'sft')
    throw new UsageError(`--loss-on all: expected --method sft, got ${flags.method}`);
  const options = { dir: flags.output, shuffle: flags['no-shuffle'] !== true, ...valuesOf(loopFlags, flags) };
  return { settings, options };
}

/** The default settings of a DPO step with an adapter of this rank. */
export function defaultSettings(loraR: number): TrainerSettings {
  const flags = { ...trainerFlags, ...loopFlags, ...lossFlags };
  const defaults = Object.fromEntries(Object.entries(flags).map(([name, flag]) => [name, flag.default]));
  const values = { ...defaults, method: 'dpo', output: '', seed: 0, 'lora-r': loraR } as unknown as TrainFlags;
  return { ...trainPlan(values, new Set()).settings, totalSteps: 1 };
}

/** Names, or one "/REGEX/". */
function loraTargets(text: string): string[] {
  if (text.trim() === 'all-linear') return [...ALL_LINEAR];
  return /^\/.*\/$/.test(text) ? [text] : text.split(',').map((name) => name.trim());
}

/** "REGEX=R" or "REGEX=R:ALPHA"; the regular expression may contain "=" and ":". */
function loraPattern(text: string): LoraPattern {
  const [, regex, r, alpha] = /^(.+)=(\d{1,4})(?::(\d+(?:\.\d+)?))?$/.exec(text) ?? [];
  if (regex === undefined || Number(r) === 0 || Number(r) > 8192 || (alpha !== undefined && Number(alpha) === 0))
    throw new UsageError(`--lora-pattern: expected REGEX=R or REGEX=R:ALPHA with a rank in 1..8192, got ${text}`);
  return { regex, r: Number(r), ...(alpha !== undefined && { alpha: Number(alpha) }) };
}
