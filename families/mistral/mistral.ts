// SPDX-License-Identifier: Apache-2.0
// Mistral: text-only.
import type { Family } from '../family.ts';

export const mistral: Family = { modelTypes: ['mistral'] };
