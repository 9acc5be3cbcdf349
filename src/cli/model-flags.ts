// SPDX-License-Identifier: Apache-2.0
// From the flags of model commands to an open model.
import { type OpenModel, openModel } from '../stages/load-model.ts';
import { ensureEngine } from './engine.ts';
import { isWholeInput } from './input.ts';
import type { RunContext } from './run.ts';

/** What modelFlags, --threads, --verbose and a preset parse to. */
export interface ModelFlagValues {
  model: string;
  adapter?: string[] | undefined;
  'init-adapter'?: string | undefined;
  device: 'auto' | 'cpu' | 'cuda';
  dtype: 'auto' | 'f32' | 'bf16';
  'batch-tokens'?: number | undefined;
  template: string;
  'image-mode': 'auto' | 'pad' | 'crop';
  threads?: number | undefined;
  verbose?: boolean;
}

/** The writer of a live pipe may wait for an answer before it goes on. */
const LIVE_INPUT_PATIENCE_MS = 100;

/** Opens the model and closes it at the end of the run; --verbose tells the memory plan before and the use after. */
export async function openModelOf(run: RunContext<unknown, unknown>, flags: ModelFlagValues): Promise<OpenModel> {
  await ensureEngine(run, flags);
  const { template, 'image-mode': imageMode } = flags;
  const model = await openModel({
    model: flags.model,
    adapters: flags.adapter ?? [],
    initAdapter: flags['init-adapter'],
    device: flags.device,
    dtype: flags.dtype,
    threads: flags.threads,
    batchTokens: flags['batch-tokens'],
    // A record's own template and mode give way to nothing; only a flag that contradicts them is an error.
    template: { otherwise: template, ...(isAsked('template', template) && { asked: template }) },
    imageMode:
      imageMode === 'auto'
        ? {}
        : { otherwise: imageMode, ...(isAsked('image-mode', imageMode) && { asked: imageMode }) },
    stop: run.stop,
    inputPatienceMs: isWholeInput(run.files) ? Number.POSITIVE_INFINITY : LIVE_INPUT_PATIENCE_MS,
    note: (message) => run.note(message),
  });
  if (flags.verbose) tellMemory(run, model);
  run.atEnd(async () => {
    if (flags.verbose) tellMemory(run, model);
    await model.close();
  });
  return model;

  function isAsked(name: string, value: string): boolean {
    return run.given.has(name) && value !== 'auto';
  }
}

function tellMemory(run: RunContext<unknown, unknown>, { policy }: OpenModel): void {
  const { device, dtype, storedDtype, numParameters, threads } = policy.info;
  run.note(
    `${(numParameters / 1e6).toFixed(1)} M parameters stored as ${storedDtype}, ${dtype} on ${device}, ${threads} threads`,
  );
  for (const line of policy.memoryPlan().trimEnd().split('\n')) run.note(line);
}
