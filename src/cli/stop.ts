// SPDX-License-Identifier: Apache-2.0
// Stop signals. The first signal ends the input, so rows in work are finished and saved;
// the second ends the process at once.
import { setMaxListeners } from 'node:events';
import { exitCodeOf, StoppedError, type StopSignal } from './exit.ts';

export interface StopRequest {
  /** Aborts at the first signal, with a StoppedError as reason. */
  signal: AbortSignal;
}

const signals: StopSignal[] = ['SIGTERM', 'SIGUSR1', 'SIGINT'];

/** Starts listening for the signals. */
export function listenForStop(): StopRequest {
  const controller = new AbortController();
  // Every request in flight listens, and Node warns of a leak above ten listeners.
  setMaxListeners(0, controller.signal);
  for (const name of signals)
    process.on(name, () => {
      const stopped = new StoppedError(name, `stopped by ${name}`);
      if (controller.signal.aborted) process.exit(exitCodeOf(stopped));
      controller.abort(stopped);
    });
  return { signal: controller.signal };
}
