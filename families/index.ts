// SPDX-License-Identifier: Apache-2.0
// The table of families.
import { RunError } from '../src/records/error.ts';
import type { Family, JsonObject } from './family.ts';
import { llama } from './llama/llama.ts';
import { llava } from './llava/llava.ts';
import { llavaNext } from './llava_next/llava_next.ts';
import { mistral } from './mistral/mistral.ts';
import { qwen2 } from './qwen2/qwen2.ts';
import { qwen25Vl } from './qwen2_5_vl/qwen2_5_vl.ts';
import { qwen2Vl } from './qwen2_vl/qwen2_vl.ts';
import { qwen3 } from './qwen3/qwen3.ts';
import { qwen3Vl } from './qwen3_vl/qwen3_vl.ts';
import { smolvlm } from './smolvlm/smolvlm.ts';
import { adviceFor } from './unsupported.ts';

export const FAMILIES: readonly Family[] = [
  llama,
  qwen2,
  qwen3,
  mistral,
  llava,
  llavaNext,
  smolvlm,
  qwen2Vl,
  qwen25Vl,
  qwen3Vl,
];

/** The family that config.json names. Throws RunError{"config"} for an unsupported one, with the nearest family and advice. */
export function familyOf(config: JsonObject, where: string): Family {
  const type = config.model_type;
  const found = FAMILIES.find(({ modelTypes }) => (modelTypes as readonly unknown[]).includes(type));
  if (found !== undefined) return found;
  const known = FAMILIES.flatMap(({ modelTypes }) => modelTypes).join(', ');
  const got = JSON.stringify(type) ?? 'nothing';
  const advice = typeof type === 'string' ? adviceFor(type) : '';
  throw new RunError('config', `${where}: model_type: expected one of ${known}, got ${got}${advice}`);
}

/** The family of that name. */
export function familyNamed(name: string): Family {
  return FAMILIES.find(({ modelTypes }) => modelTypes[0] === name)!;
}
