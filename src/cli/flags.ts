// SPDX-License-Identifier: Apache-2.0
// Flags that two or more commands have. A flag of one command stands in that command's file.
import { Flags } from '@oclif/core';
import { UsageError } from '../records/error.ts';
import { parseShard, type Shard } from './shard.ts';

export type OnError = 'fail' | 'skip' | 'keep';
export type ProgressMode = 'auto' | 'always' | 'never';

/** A whole number of at least `min`; says what came otherwise. */
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

/** Where rows go and what is said on the way: every command. */
export const outputFlags = {
  output: Flags.string({
    char: 'o',
    helpValue: 'FILE',
    summary: 'write to FILE, which appears when it is whole; until then FILE.partial grows row by row',
  }),
  progress: Flags.option({ options: ['auto', 'always', 'never'] as const })({
    default: 'auto',
    summary: 'progress on stderr; auto: when it is a terminal',
  }),
  quiet: Flags.boolean({ char: 'q', summary: 'no progress, notes or summary; errors only' }),
};

/** What every command over records has. */
export const recordFlags = {
  ...outputFlags,
  resume: Flags.boolean({ summary: 'resume FILE: truncate a partial last line, skip finished records, append' }),
  shard: shardFlag({
    helpValue: 'I/N|auto',
    summary: 'every Nth record from the Ith on, I from 0; auto: from the Slurm array variables',
  }),
  limit: integerFlag({ min: 0, helpValue: 'N', summary: 'stop after the first N records of the input' }),
  seed: integerFlag({ min: 0, default: 0, helpValue: 'N', summary: 'seed of everything drawn at random' }),
  'on-error': Flags.option({ options: ['fail', 'skip', 'keep'] as const })({
    default: 'fail',
    summary: 'a row that fails: stop, leave it out, or write it with its error',
  }),
  threads: integerFlag({ min: 1, helpValue: 'N', summary: 'threads at most, where there is work for more than one' }),
  requeue: Flags.boolean({ summary: 'stopped by SIGUSR1 in a Slurm job: save, then put the job back into the queue' }),
  summary: Flags.string({
    helpValue: 'FILE',
    summary: 'write what came of the run as one row: settings, rows in and out, dropped by reason, failed; for report',
  }),
};

/** What every command that runs a model has. */
export const modelFlags = {
  model: Flags.string({ required: true, helpValue: 'DIR', summary: 'model directory, Hugging Face layout' }),
  adapter: Flags.string({
    multiple: true,
    multipleNonGreedy: true,
    helpValue: 'DIR',
    summary: 'directory of a LoRA adapter, PEFT layout; may be repeated',
  }),
  device: Flags.option({ options: ['auto', 'cpu', 'cuda'] as const })({ default: 'auto', summary: 'where to compute' }),
  dtype: Flags.option({ options: ['auto', 'f32', 'bf16'] as const })({
    default: 'auto',
    summary: 'arithmetic of the model',
  }),
  quantize: Flags.option({ options: ['none', 'int8', 'nf4'] as const })({
    default: 'none',
    summary: "hold the language model's linear layers in 8 or 4 bits",
  }),
  'quantize-cache': Flags.string({
    helpValue: 'DIR',
    summary: 'keep the packed weights in DIR; the next start maps them',
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
    summary: "variable of the checkpoint's chat template, V as JSON or a text; strftime_now=YYYY-MM-DD is its date",
  }),
  'image-mode': Flags.option({ options: ['auto', 'pad', 'crop', 'native', 'tiles'] as const })({
    default: 'auto',
    summary: 'how a picture becomes what the model sees; auto: as the model family was trained',
  }),
  'max-pixels': integerFlag({
    min: 1,
    helpValue: 'N',
    summary: "most pixels of a picture after resizing, of families that keep its shape; default: the checkpoint's",
  }),
  'min-pixels': integerFlag({
    min: 1,
    helpValue: 'N',
    summary: "fewest pixels of a picture after resizing, of families that keep its shape; default: the checkpoint's",
  }),
};

/** What the record flags parse to. */
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
