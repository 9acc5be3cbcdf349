// SPDX-License-Identifier: Apache-2.0
// MMBench's tables, English or Chinese: one record a row, rotations of a question grouped. Source of the prompt: LLaVA's
// model_vqa_mmbench.py.
import { RecordError } from '../../records/error.ts';
import { describeValue } from '../../records/field.ts';
import { splitTable, tableRows } from '../eval/file.ts';
import { isPandasMissing } from '../eval/pandas.ts';
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
} from './benchmark.ts';
import type { ImportFile, ImportSetting } from './format.ts';
import { imageReference } from './images.ts';
import type { JsonItem } from './json-items.ts';

export const mmbench = benchmarkFormat(
  'mmbench',
  'a table mmbench_*.tsv, images in it',
  async function* (files, setting) {
    for (const file of files) {
      const rows = await tableItems(file);
      const imageOf = new Map(rows.map((row) => [row.value.index, row.value.image]));
      yield* questionsOf(eachOf(rows), (value, item) => question(value, item, imageOf, setting));
    }
  },
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
  const options = optionsOf(value);
  const hint = isNone(value.hint) ? '' : `${value.hint}\n`;
  const group = String(Number(index) % ROTATION);
  const ending = CHINESE.test(asked) ? LETTER_ANSWER_CHINESE : LETTER_ANSWER;
  const { answer, category, split, source, 'l2-category': ability } = value;
  const others = { category, 'l2-category': ability, split_name: split, data_source: source };
  return {
    id: index,
    draft: {
      group: `mmbench/${group}`,
      images: [imageUri(value, item, imageOf)],
      prompt: withEnding(`${hint}${asked}${optionLines(options)}`, ending, setting),
      ...(!isPandasMissing(answer) && { reference: String(answer) }),
      choices: options,
      meta: Object.fromEntries(Object.entries(others).filter(([, other]) => typeof other === 'string' && other !== '')),
    },
  };
}

// LLaVA stops at the first option that is missing, by its words too.
function optionsOf(value: Record<string, unknown>): string[] {
  const options: string[] = [];
  for (const letter of ['A', 'B', 'C', 'D']) {
    if (isNone(value[letter])) break;
    options.push(String(value[letter]));
  }
  return options;
}

function isNone(cell: unknown): boolean {
  return isPandasMissing(cell) || /^(?:nan|none)$/i.test(String(cell));
}

// A rotation may name the row whose image it shares instead of repeating it.
function imageUri(value: Record<string, unknown>, item: JsonItem, imageOf: ReadonlyMap<unknown, unknown>): string {
  const own = value.image;
  const image = typeof own === 'string' && /^\d{1,16}$/.test(own) ? imageOf.get(own) : own;
  if (typeof image !== 'string' || image.length < 16)
    throw new RecordError(item, 'image', 'an image in base64', describeValue(own));
  return imageReference({ bytes: image }, item, 'image');
}
