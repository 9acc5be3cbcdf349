// SPDX-License-Identifier: Apache-2.0
// The engine's exception in TypeScript.
import { RunError } from '../records/error.ts';

/** An error of the engine; `code` is a short stable word (checkpoint, config, device, memory, cancelled, ...): exit 1. */
export class EngineError extends RunError {
  override name = 'EngineError';
}

const LOST: ReadonlySet<string> = new Set(['device', 'closed', 'model']);

/** Whether every request after an error of this code would fail too: the run stops, whatever --on-error says. */
export function isEngineLost(code: string): boolean {
  return LOST.has(code);
}

/** Runs a call into the addon; its error becomes an EngineError. */
export async function fromEngine<T>(call: () => T | Promise<T>): Promise<T> {
  try {
    return await call();
  } catch (cause) {
    throw engineError(cause);
  }
}

/** The same for a synchronous call. */
export function fromEngineNow<T>(call: () => T): T {
  try {
    return call();
  } catch (cause) {
    throw engineError(cause);
  }
}

/** An error of the addon as an EngineError; another as it is. */
export function engineError(cause: unknown): unknown {
  const { engine, code, message } = cause as { engine?: unknown; code?: unknown; message?: unknown };
  return engine === true && typeof code === 'string' ? new EngineError(code, String(message)) : cause;
}
