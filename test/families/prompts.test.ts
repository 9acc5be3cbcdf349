// SPDX-License-Identifier: Apache-2.0
// Texts and ids of the tiny checkpoints against transformers: template, prompt, the images' ids in it, answers behind it, decoded answers.
// Covers families/qwen2/qwen2.ts families/qwen3/qwen3.ts families/mistral/mistral.ts families/llama/llama.ts
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { readFamilyPlan } from '../../src/model/images.ts';
import { imageMarks } from '../../src/model/load.ts';
import { imageSize } from '../../src/pixels/image-size.ts';
import { loadChatTemplate, promptTurns, type Turn } from '../../src/text/chat-template.ts';
import { expandImages, imageIds, promptIds, responseIds } from '../../src/text/prompt-ids.ts';
import { loadTokenizer } from '../../src/text/tokenizer.ts';
import { fixtureDir, fixtureImage, goldenPrompts, goldenRows, OWN, referenceRuns } from '../support/families.ts';

for (const name of ['qwen2', 'qwen3', 'mistral', 'llava_next', 'smolvlm', 'qwen2_vl', 'qwen2_5_vl', 'qwen3_vl', ...OWN])
  test(`${name}: texts, prompt ids and answer ids`, async () => {
    const dir = `${fixtureDir(name)}/ckpt`;
    const { family, plan } = await readFamilyPlan(dir);
    const { vision } = family;
    const tokenizer = await loadTokenizer(dir);
    const marks = vision && imageMarks(vision);
    const load = (args: Record<string, unknown> = {}) =>
      loadChatTemplate('auto', dir, tokenizer, { ...(marks && { image: marks }), args });
    const template = await load();
    const image = vision && { id: tokenizer.tokenId(vision.imageToken)!, token: vision.imageToken };
    const prompts = goldenPrompts(name);
    for (const row of goldenRows(name)) {
      const turns = promptTurns(prompts.get(row.id)!, row.images.length, marks ?? { onOwnLine: false }) as Turn[];
      const prompt = promptIds(turns, row.images.length, template, tokenizer, image);
      assert.equal(prompt.text, row.text, row.id);
      assert.deepEqual(prompt.ids, row.prompt_ids_unexpanded, row.id);
      if (row.text_enable_thinking_false !== undefined) {
        const quiet = await load({ enable_thinking: false });
        assert.equal(quiet.render(turns), row.text_enable_thinking_false, row.id);
      }
      const expansions = await Promise.all(
        row.images.map(async (file) => {
          const size = await imageSize(fixtureImage(name, file));
          return imageIds(
            vision!.expansion(size, plan!),
            referenceRuns(name, size, vision!.cropSizes(size, plan!), plan!),
            image!,
            tokenizer,
          );
        }),
      );
      assert.deepEqual([...expandImages(prompt.ids, image, expansions)], row.prompt_ids, row.id);
      for (const { text, ids, prompt_is_prefix: isPrefix } of row.answers) {
        assert.deepEqual([...responseIds(prompt, text, tokenizer, image)], ids, `${row.id}: ${JSON.stringify(text)}`);
        if (isPrefix) assert.equal(tokenizer.decode(ids).trim(), text.trim());
      }
      assert.equal(tokenizer.decode(row.greedy.ids), row.greedy.text, row.id);
    }
  });
