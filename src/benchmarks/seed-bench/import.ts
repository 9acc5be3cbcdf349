// SPDX-License-Identifier: Apache-2.0
// SEED-Bench.json, only image questions unless --source selects video; or LLaVA's question rows.
import { RecordError } from '../../records/error.ts';
import { describeValue, isObject } from '../../records/field.ts';
import type { ImportFile, ImportSetting } from '../../stages/import/format.ts';
import { readItems, readValue } from '../../stages/import/items.ts';
import type { JsonItem } from '../../stages/import/json-items.ts';
import {
  type BenchmarkQuestion,
  benchmarkFormat,
  idMember,
  LETTER_ANSWER,
  llavaQuestion,
  optionLines,
  placeOf,
  questionsOf,
  textMember,
  withEnding,
} from '../questions.ts';

export const seedBenchQuestions = benchmarkFormat(
  'seed-bench',
  "SEED-Bench.json (image part), or LLaVA's llava-seed-bench.jsonl",
  async function* (files, setting) {
    for (const file of files) {
      if (/\.jsonl(\.gz)?$|\.ndjson$/.test(file.source))
        yield* questionsOf(readItems(file), (value, item) => llavaQuestion(value, item));
      else yield* officialQuestions(file, setting);
    }
  },
  ['protocol'],
);

async function* officialQuestions(file: ImportFile, setting: ImportSetting): AsyncGenerator<JsonItem> {
  const whole = await readValue(file);
  const { questions, question_type: types } = isObject(whole) ? whole : {};
  if (!Array.isArray(questions))
    throw new RecordError(
      { source: file.source, line: 1 },
      'questions',
      'a list of questions',
      describeValue(questions),
    );
  const names = new Map(isObject(types) ? Object.entries(types).map(([name, id]) => [id, name]) : []);
  const wanted = setting.sources ?? ['image'];
  async function* items(): AsyncGenerator<JsonItem> {
    for (const [index, value] of (questions as unknown[]).entries())
      yield { source: file.source, line: 1, path: `questions[${index}]`, value };
  }
  yield* questionsOf(items(), (value, item) =>
    wanted.includes(String(value.data_type)) ? question(value, item, names, setting) : undefined,
  );
}

const FIELDS =
  'question_id question answer choice_a choice_b choice_c choice_d data_type data_id question_type_id segment'.split(
    ' ',
  );

function question(
  value: Record<string, unknown>,
  item: JsonItem,
  names: ReadonlyMap<unknown, string>,
  setting: ImportSetting,
): BenchmarkQuestion {
  const place = placeOf(item);
  const id = idMember(value, 'question_id', place);
  const isVideo = value.data_type === 'video';
  // Paths as in LLaVA's set-up. For a video it uses the middle frame (extract_video_frames.py).
  const image = isVideo
    ? `SEED-Bench-video-image/${value.question_type_id}_${id}.png`
    : `SEED-Bench-image/${idMember(value, 'data_id', place)}`;
  const choices = ['a', 'b', 'c', 'd'].map((letter) => textMember(value, `choice_${letter}`, place));
  const { question_type_id: type, data_type } = value;
  return {
    id,
    split: isVideo ? 'video' : 'image',
    reads: FIELDS,
    draft: {
      images: [image],
      prompt: withEnding(textMember(value, 'question', place) + optionLines(choices), LETTER_ANSWER, setting),
      reference: textMember(value, 'answer', place),
      choices,
      meta: { question_type: names.get(type) ?? type, data_type },
    },
  };
}
