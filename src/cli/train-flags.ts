// SPDX-License-Identifier: Apache-2.0
// The flags of train. To add a hyperparameter of the optimizer or of LoRA: a row in trainerFlags, and in native/addon/trainer_object.cc the line that
// reads its name in camel case (--weight-decay: "weightDecay"). One of the training loop: a row in loopFlags and a member of that name in TrainOptions
// (src/stages/train/index.ts). One of a loss: see loss-flags.ts. Type, default and range stand in the row; what excludes another flag, in train-plan.ts.
import { Flags, type Interfaces } from '@oclif/core';
import { LOSSES } from '../engine/losses.ts';
import { type EvalMetric, metricDirections } from '../stages/train/history.ts';
import { integerFlag, modelFlags, numberFlag, recordFlags, sizeFlag } from './flags.ts';
import { lossFlags } from './loss-flags.ts';
import { presetFlags } from './preset.ts';

// A training run has no row output to shard, and a bad row ends it before the first step.
const { shard: _shard, 'on-error': _onError, ...runFlags } = recordFlags;

/** Settings of the engine's trainer, which gets each under its name in camel case. */
export const trainerFlags = {
  'lora-r': integerFlag({
    min: 0,
    max: 8192,
    default: 128,
    helpValue: 'R',
    summary: 'rank of the adapter, 0 for none',
  }),
  'lora-alpha': numberFlag({ above: 0, helpValue: 'A', summary: 'scale is alpha / r; default: 2 r' }),
  rslora: Flags.boolean({ summary: 'scale alpha / sqrt(r) instead' }),
  'lora-targets': Flags.string({
    default: 'q_proj,k_proj,v_proj,o_proj,gate_proj,up_proj,down_proj',
    helpValue: 'NAME,...',
    summary:
      "which of the language model's linears get an adapter: names, all-linear, or /REGEX/ of whole module paths",
  }),
  'lora-dropout': numberFlag({
    min: 0,
    default: 0,
    helpValue: 'P',
    summary: 'share of what an adapter reads that a training step drops, below 1',
  }),
  'train-projector': Flags.boolean({ summary: 'train the projector too' }),
  'train-language-model': Flags.boolean({ summary: 'train all of the language model instead of an adapter' }),
  lr: numberFlag({ min: 0, helpValue: 'LR', summary: 'learning rate; default: 5e-6, for sft 2e-4' }),
  'projector-lr': numberFlag({
    min: 0,
    default: 0,
    helpValue: 'LR',
    summary: "projector's learning rate, 0: as --lr",
  }),
  'lr-schedule': Flags.option({ options: ['cosine', 'linear', 'constant'] as const })({
    default: 'cosine',
    summary: 'how it falls after the warm-up',
  }),
  'warmup-ratio': numberFlag({ min: 0, max: 1, default: 0.03, helpValue: 'X', summary: 'share of steps it rises' }),
  'warmup-steps': integerFlag({ min: 0, helpValue: 'N', summary: 'steps that it rises, instead of --warmup-ratio' }),
  'weight-decay': numberFlag({ min: 0, default: 0, helpValue: 'W', summary: 'decoupled weight decay' }),
  'max-grad-norm': numberFlag({ min: 0, default: 1, helpValue: 'N', summary: 'clip the gradient to it, 0: never' }),
  recompute: Flags.option({ options: ['auto', '0', '1', '2', '3'] as const })({
    default: 'auto',
    summary: 'activations to recompute: 0 none to 3 whole layers; auto: as few as fit',
  }),
};

/** Options of the training loop, likewise. */
export const loopFlags = {
  'batch-size': integerFlag({ min: 1, default: 32, helpValue: 'N', summary: 'records an optimizer step' }),
  'loss-on': Flags.option({ options: ['last', 'all'] as const })({
    default: 'last',
    summary: 'assistant turns that sft learns from',
  }),
  'save-every': integerFlag({
    min: 0,
    default: 0,
    helpValue: 'N',
    summary: 'checkpoint every N steps, 0: at the end',
  }),
  'keep-checkpoints': integerFlag({ min: 1, default: 2, helpValue: 'N', summary: 'newest checkpoints to keep' }),
  'save-gradients': Flags.string({ helpValue: 'FILE', summary: "write the next step's gradients as safetensors" }),
};

/** Read by train-plan.ts. */
const patternFlags = {
  'lora-pattern': Flags.string({
    multiple: true,
    helpValue: 'REGEX=R[:ALPHA]',
    summary: "rank and alpha of the linears whose path ends so, as peft's rank_pattern and alpha_pattern; repeatable",
  }),
};

/** What is done with held-out records. */
const evalFlags = {
  eval: Flags.string({ helpValue: 'FILE', summary: 'held-out records, evaluated while training' }),
  'eval-every': integerFlag({
    min: 1,
    helpValue: 'N',
    summary: 'evaluate every N steps, and before the first and after the last; default: those of an epoch',
  }),
  'early-stop': integerFlag({
    min: 1,
    helpValue: 'N',
    summary: 'end after N evaluations without gain by --keep-best; the directory then holds the best state',
  }),
  'keep-best': Flags.option({ options: Object.keys(metricDirections) as EvalMetric[] })({
    summary: 'the directory holds the best state by this metric; default: the last; with --early-stop: eval/loss',
  }),
};

/** Answers of the moment. */
const sampleFlags = {
  'sample-prompts': Flags.string({
    helpValue: 'FILE',
    summary: 'prompts that the model answers while it is trained, into samples.ndjson of the directory',
  }),
  'sample-every': integerFlag({
    min: 1,
    helpValue: 'N',
    summary: 'answer them every N steps, and before the first and after the last; default: those of an epoch',
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
    summary: 'preference pairs, or one answer a record',
  }),
  loss: Flags.string({
    helpValue: 'NAME[:WEIGHT],...',
    summary: `${LOSSES.join(', ')}, or a weighted sum; default: sigmoid, or sft`,
  }),
  'init-adapter': Flags.string({
    helpValue: 'DIR',
    summary: 'PEFT adapter to go on from; gives rank, scale and targets',
  }),
  epochs: numberFlag({ above: 0, default: 1, helpValue: 'N', summary: 'passes over the records' }),
  'max-steps': integerFlag({ min: 1, helpValue: 'N', summary: 'optimizer steps instead of epochs' }),
  'no-shuffle': Flags.boolean({ summary: 'take the records in input order' }),
  ranks: integerFlag({
    min: 1,
    helpValue: 'N',
    summary: 'processes that train together; default: as many as mpirun or srun --mpi=pmix started; 1: this one alone',
  }),
  'local-rank': integerFlag({
    min: 0,
    helpValue: 'N',
    summary: "which of the machine's GPUs this rank takes; default: as the launcher counts",
  }),
  zero: Flags.option({ options: ['auto', '0', '1'] as const })({
    default: 'auto',
    summary: "split the optimizer's state over the ranks (ZeRO-1); auto: when it does not fit otherwise",
  }),
  'memory-limit': sizeFlag({
    helpValue: 'SIZE',
    summary: 'memory the run may take, such as 8G (CPU); default: what the machine or its control group has to spare',
  }),
  'allow-ref-mismatch': Flags.boolean({
    summary: 'take ref_* that say no origin, or another one: model, adapter, dtype, texts, images',
  }),
  'max-length': integerFlag({
    min: 2,
    helpValue: 'N',
    summary: "most tokens of a prompt with an answer; default: the model's positions",
  }),
  'on-long': Flags.option({ options: ['fail', 'drop'] as const })({
    default: 'fail',
    summary: 'a record that is longer: end the run, or leave it out and count it; none is cut',
  }),
  log: Flags.string({
    helpValue: 'tensorboard:DIR',
    summary: 'write the metrics to an event file in DIR too, for TensorBoard',
  }),
  verbose: Flags.boolean({ summary: 'tell the memory plan on stderr' }),
};

export type TrainFlags = Interfaces.InferredFlags<typeof trainFlags>;

type CamelCase<Name extends string> = Name extends `${infer First}-${infer Rest}`
  ? `${First}${Capitalize<CamelCase<Rest>>}`
  : Name;

/** The values of a table's flags, each under its name in camel case. */
export function valuesOf<Name extends keyof TrainFlags & string>(
  table: Record<Name, { type: string }>,
  flags: TrainFlags,
): { [Flag in Name as CamelCase<Flag>]: TrainFlags[Flag] } {
  const names = Object.keys(table) as Name[];
  // What a boolean flag that is not given parses to is undefined.
  const value = (name: Name) => (table[name].type === 'boolean' ? flags[name] === true : flags[name]);
  const camelCase = (name: string) => name.replace(/-[a-z]/g, ([, letter]) => letter!.toUpperCase());
  return Object.fromEntries(names.map((name) => [camelCase(name), value(name)])) as ReturnType<typeof valuesOf<Name>>;
}
