// SPDX-License-Identifier: Apache-2.0
// Qwen2.5-VL: images as in Qwen2-VL.
import type { Family } from '../family.ts';
import { qwenVision } from '../qwen2_vl/qwen2_vl.ts';

export const qwen25Vl: Family = { modelTypes: ['qwen2_5_vl'], vision: qwenVision(14) };
