#!/usr/bin/env node
// SPDX-License-Identifier: Apache-2.0
// One question for every image of a label file: caption-prompts.mjs LABELS.jsonl IMAGE_DIR QUESTION > prompts.ndjson
import { readFileSync } from 'node:fs';
import { join } from 'node:path';

const [labels, images, prompt] = process.argv.slice(2);
for (const line of readFileSync(labels, 'utf8').trim().split('\n')) {
  const { question_id, image } = JSON.parse(line);
  process.stdout.write(
    `${JSON.stringify({ id: String(question_id), images: [join(images, image)], prompt, source: 'captions' })}\n`,
  );
}
