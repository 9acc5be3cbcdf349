// SPDX-License-Identifier: Apache-2.0
// The engine's exception on this side of the border.
import { RunError } from '../records/error.ts';

/** What the engine could not do; `code` is its short stable word (checkpoint, config, device, memory, cancelled, ...): exit 1. */
export class EngineError extends RunError {
  override name = 'EngineError';
}

/** Runs a call into the addon; what the engine throws becomes an EngineError. */
export async function fromEngine<T>(call: () => T | Promise<T>): Promise<T> {
  try {
    return await call();
  } catch (cause) {
    const { engine, code, message } = cause as { engine?: unknown; code?: unknown; message?: unknown };
    if (engine !== true || typeof code !== 'string') throw cause;
    throw new EngineError(code, String(message));
  }
}
