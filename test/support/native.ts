// SPDX-License-Identifier: Apache-2.0
// The real engine for tests; where it is not built they are skipped with a line that says so.
import { loadBinding } from '../../src/engine/binding.ts';
import { EngineError } from '../../src/engine/engine-error.ts';
import { type ModelOptions, type OpenModel, openModel } from '../../src/model/load.ts';

/** For test(name, {skip: ...}): false, or why the engine is not there. */
export const withoutEngine: string | false = whyNoEngine();

function whyNoEngine(): string | false {
  try {
    loadBinding('cpu');
    return false;
  } catch (error) {
    if (error instanceof EngineError) return error.message;
    throw error;
  }
}

export const DEMO = 'fixtures/demo/tiny-llava';

/** Opens a fixture model on the CPU in f32; notes go nowhere. */
export function openFixture(model: string, overrides: Partial<ModelOptions> = {}): Promise<OpenModel> {
  return openModel({
    model,
    adapters: [],
    device: 'cpu',
    dtype: 'f32',
    threads: 2,
    batchTokens: undefined,
    template: { otherwise: 'auto' },
    images: { mode: {} },
    note: () => undefined,
    ...overrides,
  });
}
