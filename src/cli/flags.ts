// SPDX-License-Identifier: Apache-2.0
// Flags of two or more commands. A flag of one command is in that command's file.
import { Flags } from '@oclif/core';
import { UsageError } from '../records/error.ts';
import { parseShard, type Shard } from './shard.ts';

export type OnError = 'fail' | 'skip' | 'keep';
export type ProgressMode = 'auto' | 'always' | 'never';

/** An integer in [min, max]. */
export const integerFlag = Flags.custom<number, { min?: number; max?: number }>({
  parse: async (text, _context, { name, min = 0, max = Number.MAX_SAFE_INTEGER }) => {
    const value = /^[+-]?\d+$/.test(text) ? Number(text) : Number.NaN;
    if (value >= min && value <= max && Number.isSafeInteger(value)) return value;
    const range = max === Number.MAX_SAFE_INTEGER ? `an integer of at least ${min}` : `an integer in ${min}..${max}`;
    throw new UsageError(`--${name}: expected ${range}, got ${JSON.stringify(text)}`);
  },
});

/** A finite number in [min, max], and larger than `above`. */
export const numberFlag = Flags.custom<number, { min?: number; max?: number; above?: number }>({
  parse: async (text, _context, { name, ...bounds }) => {
    const { above = Number.NEGATIVE_INFINITY, min = above, max = Number.POSITIVE_INFINITY } = bounds;
    const value = text.trim() === '' ? Number.NaN : Number(text);
    if (Number.isFinite(value) && value >= min && value <= max && value > above) return value;
    const limits = [
      bounds.above !== undefined && `above ${above}`,
      bounds.min !== undefined && `of at least ${min}`,
      bounds.max !== undefined && `${bounds.min === undefined ? 'of ' : ''}at most ${max}`,
    ];
    const range = limits.filter(Boolean).join(' and ');
    throw new UsageError(`--${name}: expected a number${range && ` ${range}`}, got ${JSON.stringify(text)}`);
  },
});

/** Bytes: a number with K, M, G or T for powers of 1024. */
export const sizeFlag = Flags.custom<number>({
  parse: async (text, _context, { name }) => {
    const match = /^(\d+(?:\.\d+)?)([KMGT]?)(?:i?B)?$/i.exec(text);
    const bytes = match ? Number(match[1]) * 1024 ** ' KMGT'.indexOf(match[2]!.toUpperCase() || ' ') : 0;
    if (bytes >= 1 && Number.isFinite(bytes)) return Math.floor(bytes);
    throw new UsageError(`--${name}: expected a size such as 8G or 512M, got ${JSON.stringify(text)}`);
  },
});

const shardFlag = Flags.custom<Shard>({ parse: async (text) => parseShard(text) });

/** Output and messages: flags of every command. */
export const outputFlags = {
  output: Flags.string({
    char: 'o',
    helpValue: 'FILE',
    summary: 'write to FILE; rows go to FILE.partial, which is renamed to FILE at the end',
  }),
  progress: Flags.option({ options: ['auto', 'always', 'never'] as const })({
    default: 'auto',
    summary: 'show progress on stderr; auto: if stderr is a terminal',
  }),
  quiet: Flags.boolean({ char: 'q', summary: 'print errors only: no progress, notes or summary' }),
};

/** Flags of every command over records. */
export const recordFlags = {
  ...outputFlags,
  resume: Flags.boolean({ summary: 'resume FILE: truncate a partial last line, skip finished records, append' }),
  shard: shardFlag({
    helpValue: 'I/N|auto',
    summary: 'process every Nth record, starting at I (from 0); auto: from the Slurm array variables',
  }),
  limit: integerFlag({ min: 0, helpValue: 'N', summary: 'stop after the first N records of the input' }),
  seed: integerFlag({ min: 0, default: 0, helpValue: 'N', summary: 'random seed' }),
  'on-error': Flags.option({ options: ['fail', 'skip', 'keep'] as const })({
    default: 'fail',
    summary: 'on a record that fails: stop, drop it, or write it with its error',
  }),
  threads: integerFlag({ min: 1, helpValue: 'N', summary: 'maximum number of threads' }),
  requeue: Flags.boolean({ summary: 'on SIGUSR1 in a Slurm job: save, then requeue the job' }),
  summary: Flags.string({
    helpValue: 'FILE',
    summary: 'write a summary of the run as one row, for report: settings, rows in and out, dropped by reason, failed',
  }),
};

/** Flags of every command that runs a model. */
export const modelFlags = {
  model: Flags.string({ required: true, helpValue: 'DIR', summary: 'model directory in Hugging Face layout' }),
  adapter: Flags.string({
    multiple: true,
    multipleNonGreedy: true,
    helpValue: 'DIR',
    summary: 'LoRA adapter directory in PEFT layout; may be repeated',
  }),
  device: Flags.option({ options: ['auto', 'cpu', 'cuda'] as const })({
    default: 'auto',
    summary: 'device to compute on',
  }),
  dtype: Flags.option({ options: ['auto', 'f32', 'bf16'] as const })({
    default: 'auto',
    summary: 'data type of the computation',
  }),
  quantize: Flags.option({ options: ['none', 'int8', 'nf4'] as const })({
    default: 'none',
    summary: "store the language model's linear layers in 8 or 4 bits",
  }),
  'quantize-cache': Flags.string({
    helpValue: 'DIR',
    summary: 'cache the packed weights in DIR; the next start reads them',
  }),
  'batch-tokens': integerFlag({ min: 1, helpValue: 'N', summary: 'maximum tokens per batch, image tokens included' }),
  template: Flags.string({
    default: 'auto',
    helpValue: 'auto|NAME',
    summary: "chat template; auto: the checkpoint's own",
  }),
  'template-arg': Flags.string({
    multiple: true,
    multipleNonGreedy: true,
    helpValue: 'K=V',
    summary: 'set variable K of the chat template; V is JSON or text; strftime_now=YYYY-MM-DD sets the date',
  }),
  'image-mode': Flags.option({ options: ['auto', 'pad', 'crop', 'native', 'tiles'] as const })({
    default: 'auto',
    summary: 'how images are resized for the model; auto: as the model family was trained',
  }),
  'max-pixels': integerFlag({
    min: 1,
    helpValue: 'N',
    summary: "maximum pixels per image after resizing, for families with dynamic resolution; default: the checkpoint's",
  }),
  'min-pixels': integerFlag({
    min: 1,
    helpValue: 'N',
    summary: "minimum pixels per image after resizing, for families with dynamic resolution; default: the checkpoint's",
  }),
};

/** Parsed values of the record flags. */
export interface RecordFlagValues extends OutputFlagValues {
  resume: boolean;
  shard?: Shard | undefined;
  limit?: number | undefined;
  seed: number;
  'on-error': OnError;
  threads?: number | undefined;
  requeue?: boolean;
  summary?: string | undefined;
}

export interface OutputFlagValues {
  output?: string | undefined;
  progress: ProgressMode;
  quiet: boolean;
}
