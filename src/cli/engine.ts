// SPDX-License-Identifier: Apache-2.0
// Builds the native engine on first use, because the npm package has none.
import { statSync } from 'node:fs';
import { buildAddon, hasAddon } from '../engine/build-addon.ts';
import type { RunContext } from './run-context.ts';

/**
 * Builds the engine unless it exists, and prints progress. Does not build for a missing model directory, so its error comes
 * first.
 */
export async function ensureEngine(
  run: Pick<RunContext<unknown, unknown>, 'note' | 'stop' | 'showTask'>,
  { device, model }: { device: 'auto' | 'cpu' | 'cuda'; model: string },
): Promise<void> {
  if (hasAddon(device) || !statSync(model, { throwIfNoEntry: false })?.isDirectory()) return;
  const started = performance.now();
  await buildAddon({
    device,
    stop: run.stop,
    note: (message) => run.note(message),
    onProgress: (share) => run.showTask('building the native engine', share),
  });
  run.note(`the native engine is built, ${Math.round((performance.now() - started) / 1000)} s`);
}
