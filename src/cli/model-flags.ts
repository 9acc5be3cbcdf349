// SPDX-License-Identifier: Apache-2.0
// Opens a model from the flags of model commands.

import type { ImageMode } from '../../families/family.ts';
import type { Quantize } from '../engine/requests.ts';
import type { ImageOptions } from '../model/images.ts';
import { type OpenModel, openModel } from '../model/load.ts';
import { count } from '../records/count.ts';
import { UsageError } from '../records/error.ts';
import type { TemplateArgs } from '../records/record.ts';
import { ensureEngine } from './engine.ts';
import { isWholeInput } from './input.ts';
import type { RunContext } from './run-context.ts';

/** Parsed values of the image flags. */
export interface ImageFlagValues {
  'image-mode': 'auto' | ImageMode;
  'max-pixels'?: number | undefined;
  'min-pixels'?: number | undefined;
}

/** Parsed values of modelFlags, --threads, --verbose and a preset. */
export interface ModelFlagValues extends ImageFlagValues {
  model: string;
  adapter?: string[] | undefined;
  'init-adapter'?: string | undefined;
  device: 'auto' | 'cpu' | 'cuda';
  dtype: 'auto' | 'f32' | 'bf16';
  quantize: Quantize;
  'quantize-cache'?: string | undefined;
  'batch-tokens'?: number | undefined;
  template: string;
  'template-arg'?: string[] | undefined;
  threads?: number | undefined;
  verbose?: boolean;
}

/** Defaults for commands that have no model flags. */
export const MODEL_DEFAULTS = {
  device: 'auto',
  dtype: 'auto',
  quantize: 'none',
  template: 'auto',
  'image-mode': 'auto',
} as const;

/** The writer of a live pipe may wait for a response before it continues. */
const LIVE_INPUT_PATIENCE_MS = 100;

/** Opens the model and closes it at the end of the run; --verbose prints the memory plan before and the use after. */
export async function openModelOf(run: RunContext<unknown, unknown>, flags: ModelFlagValues): Promise<OpenModel> {
  if (run.given.has('quantize-cache') && flags.quantize === 'none')
    throw new UsageError('--quantize-cache: expected --quantize nf4 or int8 beside it, got none');
  await ensureEngine(run, flags);
  const { template } = flags;
  const special = new SpecialTexts();
  const model = await openModel({
    model: flags.model,
    adapters: flags.adapter ?? [],
    initAdapter: flags['init-adapter'],
    device: flags.device,
    dtype: flags.dtype,
    quantize: flags.quantize,
    quantizeCache: flags['quantize-cache'],
    threads: flags.threads,
    batchTokens: flags['batch-tokens'],
    // A record's own template and mode always apply; a conflicting flag is an error.
    template: { otherwise: template, ...(isAsked('template', template) && { asked: template }) },
    templateArgs: templateArguments(flags['template-arg'] ?? []),
    onSpecialText: (row, token) => special.add(row, token),
    images: imageOptions(flags, isAsked),
    stop: run.stop,
    inputPatienceMs: isWholeInput(run.files) ? Number.POSITIVE_INFINITY : LIVE_INPUT_PATIENCE_MS,
    note: (message) => run.note(message),
  });
  if (flags.verbose) run.note(modelLine(model));
  run.atEnd(async () => {
    if (flags.verbose) noteMemory(run, model);
    special.report((message) => run.warn(message));
    await model.close();
  });
  return model;

  function isAsked(name: string, value: string): boolean {
    return run.given.has(name) && value !== 'auto';
  }
}

/** How images are resized; `isAsked`: set by the user, and not by a preset. */
export function imageOptions(flags: ImageFlagValues, isAsked: (name: string, value: string) => boolean): ImageOptions {
  const { 'image-mode': mode, 'max-pixels': maxPixels, 'min-pixels': minPixels } = flags;
  return {
    mode: mode === 'auto' ? {} : { otherwise: mode, ...(isAsked('image-mode', mode) && { asked: mode }) },
    ...(maxPixels !== undefined && { maxPixels }),
    ...(minPixels !== undefined && { minPixels }),
  };
}

/** `K=V` of --template-arg: V is JSON if it parses, else text. Throws UsageError. */
function templateArguments(given: readonly string[]): TemplateArgs {
  const args: TemplateArgs = {};
  for (const text of given) {
    const match = /^([A-Za-z_]\w*)=(.*)$/s.exec(text);
    if (match === null) throw new UsageError(`--template-arg: expected NAME=VALUE, got ${JSON.stringify(text)}`);
    const [, name, value] = match as unknown as [string, string, string];
    if (Object.hasOwn(args, name)) throw new UsageError(`--template-arg ${name}: given twice`);
    args[name] = jsonOrText(value);
  }
  return args;
}

function jsonOrText(value: string): unknown {
  try {
    return JSON.parse(value);
  } catch {
    return value;
  }
}

// Counts records with special tokens in their texts.
class SpecialTexts {
  readonly #rows = new Set<string>();
  #example: string | undefined;

  add({ source, line }: { source: string; line: number }, token: string): void {
    this.#rows.add(`${source}:${line}`);
    this.#example ??= `${token} at ${source}:${line}`;
  }

  report(warn: (message: string) => void): void {
    const { size } = this.#rows;
    if (size > 0)
      warn(
        `${count(size, 'record has', 'records have')} special tokens in their texts (${this.#example}): read as tokens, as transformers does`,
      );
  }
}

function modelLine({ policy }: OpenModel): string {
  const { device, dtype, storedDtype, numParameters, threads, quantize } = policy.info;
  const held = quantize === 'none' ? '' : `, linear layers as ${quantize}`;
  return `${(numParameters / 1e6).toFixed(1)} M parameters stored as ${storedDtype}${held}, ${dtype} on ${device}, ${count(threads, 'thread')}`;
}

// A trainer has its own plan, and its engine has none.
function noteMemory(run: RunContext<unknown, unknown>, { policy }: OpenModel): void {
  for (const line of policy.memoryPlan().split('\n')) if (line !== '') run.note(line);
}
