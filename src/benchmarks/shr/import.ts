// SPDX-License-Identifier: Apache-2.0
// SHR: val_images_final.json, with Visual Genome's image_data.json and region_descriptions.json and the two files of
// facts for the judge. Source: HA-DPO ha_dpo/shr_eval (prompt, boxes, decoding).

import { pythonRound } from '../../python/number.ts';
import { RecordError } from '../../records/error.ts';
import { isObject } from '../../records/field.ts';
import { idField } from '../../stages/import/format.ts';
import type { JsonItem } from '../../stages/import/json-items.ts';
import { benchmarkFormat, eachOf, idMember, listItems, placeOf, questionsOf } from '../questions.ts';

const PROMPT = 'Describe this image in detail.';
// The only benchmark here that uses beam search.
const SAMPLING = { temperature: 0, beams: 5, max_new_tokens: 512 };

interface ImageFacts {
  path?: string;
  width?: number;
  height?: number;
  regions?: unknown[];
  facts?: string[];
}

export const shrQuestions = benchmarkFormat(
  'shr',
  "val_images_final.json, with Visual Genome's files and shr_factual_part*.jsonl for the judge",
  async function* (files) {
    const wanted: JsonItem[] = [];
    const wantedIds = new Set<string>();
    const isWanted = (id: unknown) => wantedIds.size === 0 || wantedIds.has(String(id));
    const known = new Map<string, ImageFacts>();
    const factsOf = (id: unknown) => {
      const facts = known.get(String(id)) ?? {};
      known.set(String(id), facts);
      return facts;
    };
    // The regions' file is too large for memory: if val_images comes first, other images are dropped while reading.
    for await (const item of listItems(files)) {
      const value = isObject(item.value) ? item.value : {};
      if (Array.isArray(value.regions)) {
        const id = idField(value, 'id') ?? idField(value.regions[0], 'image_id');
        if (isWanted(id)) factsOf(id).regions = value.regions;
      } else if (typeof value.url === 'string' && 'width' in value) {
        const id = idField(value, 'image_id');
        if (isWanted(id)) Object.assign(factsOf(id), imageData(value));
      } else if ('image_id' in value || item.error !== undefined || !isFactual(value)) {
        wanted.push(item);
        wantedIds.add(idField(value, 'image_id') ?? '');
      } else for (const [id, facts] of Object.entries(value)) factsOf(id).facts = facts as string[];
    }
    yield* questionsOf(eachOf(wanted), (value, item) => {
      const id = idMember(value, 'image_id', placeOf(item));
      const facts = known.get(id) ?? {};
      const context = contextOf(facts, item);
      return {
        id,
        reads: ['image_id'],
        draft: {
          images: [facts.path ?? `${id}.jpg`],
          prompt: PROMPT,
          ...(context !== '' && { context }),
          sampling_params: SAMPLING,
        },
      };
    });
  },
);

function isFactual(value: Record<string, unknown>): boolean {
  const lists = Object.values(value);
  return (
    lists.length > 0 && lists.every((list) => Array.isArray(list) && list.every((fact) => typeof fact === 'string'))
  );
}

/** "VG_100K/123.jpg": folder and file name of the URL. */
function imageData({ url, width, height }: Record<string, unknown>): ImageFacts {
  return { path: String(url).split('/').slice(-2).join('/'), width: Number(width), height: Number(height) };
}

/** Regions as "[x1, y1, x2, y2]: phrase", normalised to two decimals, then the facts, one per line. */
function contextOf({ regions = [], facts = [], width, height }: ImageFacts, item: JsonItem): string {
  if (regions.length > 0 && !(Number(width) > 0 && Number(height) > 0))
    throw new RecordError(
      item,
      'image_id',
      "an image of image_data.json, for its regions' boxes",
      'one without width and height',
    );
  const share = (value: unknown, whole: number) => pythonFloatText(pythonRound(Number(value) / whole, 2));
  const lines = regions.filter(isObject).flatMap(({ x, y, width: w, height: h, phrase }) => {
    if (typeof phrase !== 'string' || phrase === '') return [];
    const right = Number(x) + Number(w);
    const bottom = Number(y) + Number(h);
    return `[${share(x, width!)}, ${share(y, height!)}, ${share(right, width!)}, ${share(bottom, height!)}]: ${phrase}`;
  });
  return [...lines, ...facts].join('\n');
}

function pythonFloatText(value: number): string {
  return Number.isInteger(value) ? `${value}.0` : String(value);
}
