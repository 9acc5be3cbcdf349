// SPDX-License-Identifier: Apache-2.0
// The flags of train. To add a hyperparameter of the optimizer or of LoRA: a row in trainerFlags, and in native/addon/train_convert.cc the line that
// reads its name in camel case (--weight-decay: "weightDecay"). One of the training loop: a row in loopFlags and a member of that name in TrainOptions
// (src/stages/train/options.ts). One of a loss: see loss-flags.ts. Type, default and range are in the row; exclusions between flags in train-plan.ts.
import { Flags, type Interfaces } from '@oclif/core';
import { LOSSES } from '../engine/losses.ts';
import { type EvalMetric, metricDirections } from '../stages/train/history.ts';
import { integerFlag, modelFlags, numberFlag, recordFlags, sizeFlag } from './flags.ts';
import { lossFlags } from './loss-flags.ts';
import { presetFlags } from './preset.ts';

// Training has no row output to shard, and a bad row ends the run before the first step.
const { shard: _shard, 'on-error': _onError, ...runFlags } = recordFlags;

/** The linear layers of the language model's blocks: the default targets, and those of `all-linear`. */
export const ALL_LINEAR = ['q_proj', 'k_proj', 'v_proj', 'o_proj', 'gate_proj', 'up_proj', 'down_proj'];

/** Settings of the engine's trainer, passed under their names in camel case. */
export const trainerFlags = {
  'lora-r': integerFlag({
    min: 0,
    max: 8192,
    default: 128,
    helpValue: 'R',
    summary: 'rank of the LoRA adapter; 0: none',
  }),
  'lora-alpha': numberFlag({ above: 0, helpValue: 'A', summary: 'LoRA alpha; the scale is alpha / r; default: 2 r' }),
  rslora: Flags.boolean({ summary: 'use the scale alpha / sqrt(r)' }),
  'lora-targets': Flags.string({
    default: ALL_LINEAR.join(','),
    helpValue: 'NAME,...',
    summary:
      'linear layers of the language model with an adapter: names, all-linear, or /REGEX/ matching whole module paths',
  }),
  'lora-dropout': numberFlag({
    min: 0,
    default: 0,
    helpValue: 'P',
    summary: "dropout on the adapter's input, below 1",
  }),
  'train-projector': Flags.boolean({ summary: 'train the projector too' }),
  'train-language-model': Flags.boolean({ summary: 'train the whole language model instead of an adapter' }),
  lr: numberFlag({ min: 0, helpValue: 'LR', summary: 'learning rate; default: 5e-6, for sft 2e-4' }),
  'projector-lr': numberFlag({
    min: 0,
    default: 0,
    helpValue: 'LR',
    summary: 'learning rate of the projector; 0: as --lr',
  }),
  'lr-schedule': Flags.option({ options: ['cosine', 'linear', 'constant'] as const })({
    default: 'cosine',
    summary: 'learning-rate schedule after the warm-up',
  }),
  'warmup-ratio': numberFlag({
    min: 0,
    max: 1,
    default: 0.03,
    helpValue: 'X',
    summary: 'share of the steps used for warm-up',
  }),
  'warmup-steps': integerFlag({ min: 0, helpValue: 'N', summary: 'warm-up steps, instead of --warmup-ratio' }),
  'weight-decay': numberFlag({ min: 0, default: 0, helpValue: 'W', summary: 'decoupled weight decay' }),
  'max-grad-norm': numberFlag({ min: 0, default: 1, helpValue: 'N', summary: 'clip the gradient norm to N; 0: never' }),
  recompute: Flags.option({ options: ['auto', '0', '1', '2', '3'] as const })({
    default: 'auto',
    summary: 'activation recomputation, from 0 (none) to 3 (whole layers); auto: as little as fits in memory',
  }),
};

/** Options of the training loop, also passed in camel case. */
export const loopFlags = {
  'batch-size': integerFlag({ min: 1, default: 32, helpValue: 'N', summary: 'records per optimizer step' }),
  'loss-on': Flags.option({ options: ['last', 'all'] as const })({
    default: 'last',
    summary: 'sft: assistant turns in the loss',
  }),
  'save-every': integerFlag({
    min: 0,
    default: 0,
    helpValue: 'N',
    summary: 'write a checkpoint every N steps; 0: only at the end',
  }),
  'keep-checkpoints': integerFlag({
    min: 1,
    default: 2,
    helpValue: 'N',
    summary: 'number of newest checkpoints to keep',
  }),
  'save-gradients': Flags.string({
    helpValue: 'FILE',
    summary: "write the next step's gradients to FILE as safetensors",
  }),
};

/** Read by train-plan.ts. */
const patternFlags = {
  'lora-pattern': Flags.string({
    multiple: true,
    helpValue: 'REGEX=R[:ALPHA]',
    summary:
      "rank and alpha of the linear layers whose path ends in REGEX, as PEFT's rank_pattern and alpha_pattern; may be repeated",
  }),
};

/** Evaluation on held-out records. */
const evalFlags = {
  eval: Flags.string({ helpValue: 'FILE', summary: 'held-out records, evaluated during training' }),
  'eval-every': integerFlag({
    min: 1,
    helpValue: 'N',
    summary: 'evaluate every N steps, before the first and after the last; default: once per epoch',
  }),
  'early-stop': integerFlag({
    min: 1,
    helpValue: 'N',
    summary: 'stop after N evaluations without improvement of --keep-best; the directory holds the best step',
  }),
  'keep-best': Flags.option({ options: Object.keys(metricDirections) as EvalMetric[] })({
    summary: 'keep the best step by this metric; default: keep the last step, with --early-stop: eval/loss',
  }),
};

/** Sampling during training. */
const sampleFlags = {
  'sample-prompts': Flags.string({
    helpValue: 'FILE',
    summary: 'prompts to sample during training, to samples.ndjson in the directory',
  }),
  'sample-every': integerFlag({
    min: 1,
    helpValue: 'N',
    summary: 'sample every N steps, before the first and after the last; default: once per epoch',
  }),
};

export const trainFlags = {
  ...runFlags,
  ...modelFlags,
  ...presetFlags,
  ...lossFlags,
  ...trainerFlags,
  ...loopFlags,
  ...patternFlags,
  ...evalFlags,
  ...sampleFlags,
  method: Flags.option({ options: ['dpo', 'sft'] as const })({
    default: 'dpo',
    summary: 'train on preference pairs, or on one response per record',
  }),
  loss: Flags.string({
    helpValue: 'NAME[:WEIGHT],...',
    summary: `${LOSSES.join(', ')}, or a weighted sum; default: sigmoid, with --method sft: sft`,
  }),
  'init-adapter': Flags.string({
    helpValue: 'DIR',
    summary: 'PEFT adapter to start from; sets rank, scale and targets',
  }),
  epochs: numberFlag({ above: 0, default: 1, helpValue: 'N', summary: 'number of passes over the records' }),
  'max-steps': integerFlag({ min: 1, helpValue: 'N', summary: 'number of optimizer steps, instead of --epochs' }),
  'no-shuffle': Flags.boolean({ summary: 'use the records in input order' }),
  ranks: integerFlag({
    min: 1,
    helpValue: 'N',
    summary: 'number of processes (ranks); default: as started by mpirun or srun --mpi=pmix; 1: this process alone',
  }),
  'local-rank': integerFlag({
    min: 0,
    helpValue: 'N',
    summary: 'index of the GPU that this rank uses; default: from the launcher',
  }),
  zero: Flags.option({ options: ['auto', '0', '1'] as const })({
    default: 'auto',
    summary: 'shard the optimizer state over the ranks (ZeRO-1); auto: if it does not fit otherwise',
  }),
  'memory-limit': sizeFlag({
    helpValue: 'SIZE',
    summary: 'CPU: maximum memory of the run, such as 8G; default: what the machine or its control group has free',
  }),
  'allow-ref-mismatch': Flags.boolean({
    summary: 'accept ref_* with no recorded origin or another one: model, adapter, dtype, texts, images',
  }),
  'max-length': integerFlag({
    min: 2,
    helpValue: 'N',
    summary: "maximum tokens of a prompt with its response; default: the model's context length",
  }),
  'on-long': Flags.option({ options: ['fail', 'drop'] as const })({
    default: 'fail',
    summary: 'on a record longer than --max-length: stop, or drop and count it; records are never truncated',
  }),
  log: Flags.string({
    helpValue: 'tensorboard:DIR',
    summary: 'write the metrics to a TensorBoard event file in DIR too',
  }),
  verbose: Flags.boolean({ summary: 'print the memory plan to stderr' }),
};

export type TrainFlags = Interfaces.InferredFlags<typeof trainFlags>;

type CamelCase<Name extends string> = Name extends `${infer First}-${infer Rest}`
  ? `${First}${Capitalize<CamelCase<Rest>>}`
  : Name;

/** The values of a table's flags by names in camel case. */
export function valuesOf<Name extends keyof TrainFlags & string>(
  table: Record<Name, { type: string }>,
  flags: TrainFlags,
): { [Flag in Name as CamelCase<Flag>]: TrainFlags[Flag] } {
  const names = Object.keys(table) as Name[];
  // An absent boolean flag parses to undefined.
  const value = (name: Name) => (table[name].type === 'boolean' ? flags[name] === true : flags[name]);
  const camelCase = (name: string) => name.replace(/-[a-z]/g, ([, letter]) => letter!.toUpperCase());
  return Object.fromEntries(names.map((name) => [camelCase(name), value(name)])) as ReturnType<typeof valuesOf<Name>>;
}
