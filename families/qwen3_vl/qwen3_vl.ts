// SPDX-License-Identifier: Apache-2.0
// Qwen3-VL, dense: images as in Qwen2-VL, in steps of 32 pixels.
import type { Family } from '../family.ts';
import { qwenVision } from '../qwen2_vl/qwen2_vl.ts';

export const qwen3Vl: Family = { modelTypes: ['qwen3_vl'], vision: qwenVision(16) };
