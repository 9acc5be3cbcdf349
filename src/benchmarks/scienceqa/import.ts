// SPDX-License-Identifier: Apache-2.0
// ScienceQA: problems.json (with pid_splits.json or without), or LLaVA's llava_test_CQM-A.json.

import { RecordError } from '../../records/error.ts';
import { describeValue, isObject } from '../../records/field.ts';
import { IMAGE_MARK } from '../../records/prompt.ts';
import type { ImportSetting } from '../../stages/import/format.ts';
import { readValue } from '../../stages/import/items.ts';
import type { JsonItem } from '../../stages/import/json-items.ts';
import {
  type BenchmarkQuestion,
  benchmarkFormat,
  eachOf,
  idMember,
  LETTER_ANSWER,
  optionLines,
  placeOf,
  questionsOf,
  textMember,
  withEnding,
} from '../questions.ts';

export const scienceqaQuestions = benchmarkFormat(
  'scienceqa',
  "problems.json and pid_splits.json (test unless --source), or LLaVA's llava_test_CQM-A.json",
  async function* (files, setting) {
    const wanted = setting.sources ?? ['test'];
    const splitOf = new Map<string, string>();
    const items: JsonItem[] = [];
    for (const file of files) {
      const whole = await readValue(file);
      const head = { source: file.source, line: 1 };
      if (Array.isArray(whole)) {
        for (const [index, value] of whole.entries()) items.push({ ...head, path: `[${index}]`, value });
      } else if (isObject(whole)) {
        for (const [key, value] of Object.entries(whole)) {
          if (!Array.isArray(value)) items.push({ ...head, path: key, value });
          else if (wanted.includes(key)) for (const id of value) splitOf.set(String(id), key);
        }
      } else throw new RecordError(head, 'file', 'problems.json, pid_splits.json or an array', describeValue(whole));
    }
    yield* questionsOf(eachOf(items), (value, item) => {
      if ('conversations' in value) return llavaDialogue(value, item, setting);
      const split = splitOf.size > 0 ? splitOf.get(item.path) : String(value.split ?? 'test');
      return split !== undefined && wanted.includes(split) ? problem(value, item, split, setting) : undefined;
    });
  },
  ['protocol'],
);

// Skill, lecture and solution explain the answer, so prompts omit them.
const FIELDS =
  'question choices answer hint image task grade subject topic category skill lecture solution split'.split(' ');

function problem(
  value: Record<string, unknown>,
  item: JsonItem,
  split: string,
  setting: ImportSetting,
): BenchmarkQuestion {
  const place = placeOf(item);
  const { choices, answer, hint, image, subject, topic, category, grade } = value;
  if (!Array.isArray(choices) || choices.length === 0)
    throw new RecordError(item, `${item.path}.choices`, 'a list of choices', describeValue(choices));
  if (typeof answer !== 'number' || choices[answer] === undefined)
    throw new RecordError(item, `${item.path}.answer`, 'the index of a choice', describeValue(answer));
  const context = typeof hint === 'string' && hint !== '' ? `Context: ${hint}\n` : '';
  const options = choices.map(String);
  return {
    id: item.path,
    split,
    reads: FIELDS,
    draft: {
      // Below images/SPLIT.
      ...(typeof image === 'string' && image !== '' && { images: [`${item.path}/${image}`] }),
      prompt: withEnding(
        `${context}${textMember(value, 'question', place)}${optionLines(options)}`,
        LETTER_ANSWER,
        setting,
      ),
      reference: String.fromCharCode(65 + answer),
      choices: options,
      meta: { subject, topic, category, grade, ...(context !== '' && { hint }) },
    },
  };
}

function llavaDialogue(value: Record<string, unknown>, item: JsonItem, setting: ImportSetting): BenchmarkQuestion {
  const place = placeOf(item);
  const turns = value.conversations;
  const first = Array.isArray(turns) && isObject(turns[0]) ? turns[0].value : undefined;
  if (typeof first !== 'string')
    throw new RecordError(item, `${item.path}.conversations[0].value`, 'the question, a string', describeValue(first));
  const { image } = value;
  return {
    id: idMember(value, 'id', place),
    split: 'test',
    reads: ['id', 'image', 'conversations'],
    draft: {
      ...(typeof image === 'string' && { images: [image] }),
      prompt: withEnding(first.replaceAll(IMAGE_MARK, '').trim(), LETTER_ANSWER, setting),
    },
  };
}
