#!/usr/bin/env node
// SPDX-License-Identifier: Apache-2.0
// Splits the demo's dialogues into two sources, like LLaVA's data: demo-sources.mjs DEMO OUT writes OUT/data.json and OUT/images/{captions,objects}.
// Of four questions per image the first two ask for captions, the others for objects.
import { existsSync, mkdirSync, readFileSync, renameSync, symlinkSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';

const [demo, out] = process.argv.slice(2);
const dialogues = JSON.parse(readFileSync(join(demo, 'llava_conversations.json'), 'utf8'));
const firstTurn = { captions: 0, objects: 4 };
const items = Object.entries(firstTurn).flatMap(([source, first]) =>
  dialogues.map(({ id, image, conversations }) => {
    const turns = conversations.slice(first, first + 4).map((turn) => ({ ...turn }));
    turns[0].value = `<image>\n${turns[0].value.replace('<image>\n', '')}`;
    return { id: `${source}/${id}`, image: `${source}/${image}`, conversations: turns };
  }),
);
mkdirSync(join(out, 'images'), { recursive: true });
for (const source of Object.keys(firstTurn)) {
  const link = join(out, 'images', source);
  if (!existsSync(link)) symlinkSync(resolve(demo, 'images'), link);
}
writeFileSync(join(out, 'data.json.part'), JSON.stringify(items));
renameSync(join(out, 'data.json.part'), join(out, 'data.json'));
