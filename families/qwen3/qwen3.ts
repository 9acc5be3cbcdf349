// SPDX-License-Identifier: Apache-2.0
// Qwen3, dense: text-only.
import type { Family } from '../family.ts';

export const qwen3: Family = { modelTypes: ['qwen3'] };
