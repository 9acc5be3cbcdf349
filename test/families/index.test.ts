// SPDX-License-Identifier: Apache-2.0
// Covers families/unsupported.ts
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { FAMILIES, familyNamed, familyOf } from '../../families/index.ts';

test('every model type names one family', () => {
  const types = FAMILIES.flatMap(({ modelTypes }) => modelTypes);
  assert.equal(new Set(types).size, types.length);
  for (const type of types) assert.ok(familyOf({ model_type: type }, 'config.json').modelTypes.includes(type));
  assert.equal(familyOf({ model_type: 'idefics3' }, ''), familyNamed('smolvlm'));
});

const REFUSED: [type: unknown, message: RegExp][] = [
  ['qwen3_vl_moe', /got "qwen3_vl_moe"; the nearest is qwen3_vl \(its dense models\); `sample --endpoint URL`/],
  ['qwen3_moe', /the nearest is qwen3 \(its dense models\)/],
  ['mixtral', /the nearest is mistral/],
  ['gemma3', /got "gemma3"; the nearest is qwen2_5_vl; `sample --endpoint URL` gets responses/],
  ['llava_llama', /nearest is llava or llava_next in Hugging Face's layout/],
  ['llava_next_video', /nearest is llava_next \(images, no video\)/],
  ['never_heard_of', /model_type: expected one of llama, .*smolvlm, idefics3.*got "never_heard_of"; `sample/],
  [undefined, /model_type: expected one of .*got nothing$/],
  [7, /got 7$/],
];
for (const [type, message] of REFUSED)
  test(`model_type ${type}: refused by name, with the nearest`, () =>
    assert.throws(() => familyOf({ model_type: type }, 'DIR/config.json'), message));
