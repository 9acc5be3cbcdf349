// SPDX-License-Identifier: Apache-2.0
// Qwen2 and Qwen2.5: text-only.
import type { Family } from '../family.ts';

export const qwen2: Family = { modelTypes: ['qwen2'] };
