// SPDX-License-Identifier: Apache-2.0
// Whether the native engine is there: tests that need it are skipped with a line where it could not be built.
import { loadBinding } from '../../src/engine/binding.ts';

export function hasEngine(): boolean {
  try {
    loadBinding('cpu');
    return true;
  } catch {
    return false;
  }
}
