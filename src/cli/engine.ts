// SPDX-License-Identifier: Apache-2.0
// The native engine on first need: a package from npm comes without one.
import { statSync } from 'node:fs';
import { buildAddon, hasAddon } from '../engine/build-addon.ts';
import type { RunContext } from './run-context.ts';

/**
 * Builds the engine unless it is there, and says so. A model directory that is not there is left to those who open it: minutes of building
 * would come before that message.
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
