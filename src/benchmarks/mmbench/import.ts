// SPDX-License-Identifier: Apache-2.0
// MMBench's tables, English or Chinese: one record per row, rotations of a question grouped. Source of the prompt: LLaVA's
// model_vqa_mmbench.py.

import { isPandasMissing } from '../../python/pandas.ts';
import { RecordError } from '../../records/error.ts';
import { describeValue } from '../../records/field.ts';
import type { ImportFile, ImportSetting } from '../../stages/import/format.ts';
import { imageReference } from '../../stages/import/images.ts';
import type { JsonItem } from '../../stages/import/json-items.ts';
import { listFromText } from '../../stages/import/messages.ts';
import {
  type BenchmarkQuestion,
  benchmarkFormat,
  eachOf,
  LETTER_ANSWER,
  LETTER_ANSWER_CHINESE,
  optionLines,
  placeOf,
  questionsOf,
  textMember,
  withEnding,
} from '../questions.ts';
import { splitTable, tableRows } from '../scoring/file.ts';

export const mmbenchQuestions = benchmarkFormat(
  'mmbench',
  'a table mmbench_*.tsv, images in it',
  async function* (files, setting) {
    for (const file of files) {
      const rows = await tableItems(file);
      const imageOf = new Map(rows.map((row) => [row.value.index, row.value.image]));
      yield* questionsOf(eachOf(rows), (value, item) => question(value, item, imageOf, setting));
    }
  },
  ['protocol'],
);

type Row = JsonItem & { value: Record<string, unknown> };

async function tableItems(file: ImportFile): Promise<Row[]> {
  const chunks: Uint8Array[] = [];
  for await (const chunk of file.open()) chunks.push(chunk);
  const rows = tableRows(splitTable(Buffer.concat(chunks).toString(), '\t'), file.source);
  return rows.map(({ value, at }) => ({ ...at, path: '', value }));
}

const CHINESE = /\p{Script=Han}/u;
const ROTATION = 1_000_000;

const FIELDS = 'index question hint A B C D E F G H answer category l2-category image source comment split'.split(' ');

function question(
  value: Record<string, unknown>,
  item: JsonItem,
  imageOf: ReadonlyMap<unknown, unknown>,
  setting: ImportSetting,
): BenchmarkQuestion {
  const place = placeOf(item);
  const index = textMember(value, 'index', place);
  if (!/^\d+$/.test(index)) throw new RecordError(item, 'index', 'an integer', describeValue(value.index));
  const asked = textMember(value, 'question', place);
  const options = optionsOf(value, item);
  const hint = isNone(value.hint) ? '' : `${value.hint}\n`;
  const group = String(Number(index) % ROTATION);
  const ending = CHINESE.test(asked) ? LETTER_ANSWER_CHINESE : LETTER_ANSWER;
  const { answer } = value;
  if (!isPandasMissing(answer) && !'ABCD'.slice(0, options.length).includes(String(answer)))
    throw new RecordError(item, 'answer', `the letter of one of ${options.length} options`, describeValue(answer));
  const { category, split, source, 'l2-category': ability } = value;
  const others = { category, 'l2-category': ability, split_name: split, data_source: source };
  return {
    id: index,
    reads: FIELDS,
    draft: {
      group: `mmbench/${group}`,
      images: imageUris(value, item, imageOf),
      prompt: withEnding(`${hint}${asked}${optionLines(options)}`, ending, setting),
      ...(!isPandasMissing(answer) && { reference: String(answer) }),
      choices: options,
      meta: Object.fromEntries(Object.entries(others).filter(([, other]) => typeof other === 'string' && other !== '')),
    },
  };
}

// LLaVA stops at the first missing option (also "nan" or "none"), and uses only A to D.
function optionsOf(value: Record<string, unknown>, item: JsonItem): string[] {
  const options: string[] = [];
  const beyond = ['E', 'F', 'G', 'H'].find((letter) => !isNone(value[letter]));
  if (beyond !== undefined) throw new RecordError(item, beyond, 'options A to D', describeValue(value[beyond]));
  for (const letter of ['A', 'B', 'C', 'D']) {
    if (isNone(value[letter])) break;
    options.push(String(value[letter]));
  }
  return options;
}

function isNone(cell: unknown): boolean {
  return isPandasMissing(cell) || /^(?:nan|none)$/i.test(String(cell));
}

// A rotation may refer to the row whose image it shares; a question about several images has a list.
function imageUris(value: Record<string, unknown>, item: JsonItem, imageOf: ReadonlyMap<unknown, unknown>): string[] {
  const own = value.image;
  const cell = typeof own === 'string' && /^\d{1,16}$/.test(own) ? imageOf.get(own) : own;
  const list = typeof cell === 'string' ? listFromText(cell, item, 'image') : cell;
  return (Array.isArray(list) ? list : [list]).map((image, index) => {
    const field = Array.isArray(list) ? `image[${index}]` : 'image';
    if (typeof image !== 'string' || image.length < 16 || !/^[A-Za-z0-9+/\s]+={0,2}\s*$/.test(image))
      throw new RecordError(item, field, 'an image in base64', describeValue(image));
    return imageReference({ bytes: image }, item, field);
  });
}
