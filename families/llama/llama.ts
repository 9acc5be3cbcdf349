// SPDX-License-Identifier: Apache-2.0
// Llama 2 and 3: text-only.
import type { Family } from '../family.ts';

export const llama: Family = { modelTypes: ['llama'] };
