// SPDX-License-Identifier: Apache-2.0
// Object HalBench: a judge lists the objects that an answer names, each counts once, against COCO's. Source: RLAIF-V
// eval/eval_gpt_obj_halbench.py (extraction, rules, review file) and summarize_gpt_obj_halbench_review.py.

import type { English } from '../../python/nltk/english.ts';
import { pythonSplit } from '../../python/text.ts';
import { RecordError } from '../../records/error.ts';
import { describeValue, isObject, type Place } from '../../records/field.ts';
import type { Answer } from '../scoring/answers.ts';
import { type CocoObjects, cocoId, joinPairs, type Mention, mentionsOf, readCocoObjects } from '../scoring/coco.ts';
import type { EvalFile } from '../scoring/file.ts';
import type { Joined } from '../scoring/join.ts';
import { holdRecords, readJudged } from '../scoring/judged.ts';
import { chairFigures, englishOf, type ImageLabel, imageLabels, mentionInterval } from '../scoring/mentions.ts';
import { type EvalInput, finite } from '../scoring/score-row.ts';
import { benchmarkScorer } from '../scoring/scorer.ts';

interface Listed extends Answer {
  /** Undefined: the judge call failed. */
  mentions: Mention[] | undefined;
  /** Objects in the image, if the review file has them. */
  truth?: string[];
}

type Question = Joined<ImageLabel, Listed>;
type Scored = { label: ImageLabel; answer: Listed; mentions: Mention[] };

/** Scores official review files, or records judged with guide objects. */
export const scoreObjhal = benchmarkScorer<ImageLabel, Listed, Question>({
  benchmark: 'objhal',
  read(input) {
    const { answers: files } = input;
    if (!holdRecords(files)) {
      const answers = files.flatMap((file) => reviews(file, files));
      return { answers, labels: ownLabels(answers) };
    }
    const objects = readCocoObjects(input.tables, true, 'objhal');
    const english = englishOf(input.tables, 'objhal');
    const answers = listedRecords(input, objects, english);
    const read = (caption: string) =>
      joinPairs(
        english.words(caption.toLowerCase()).map((word) => english.noun(word)),
        objects,
      );
    return { answers, labels: imageLabels(input, answers, { objects, read }, 'objhal') };
  },
  mark: (joined) => joined,
  figures(part) {
    const scored = part.flatMap(({ label, answer }): Scored[] =>
      answer?.mentions === undefined ? [] : [{ label, answer, mentions: answer.mentions }],
    );
    const naming = scored.filter(({ mentions }) => mentions.length > 0);
    const { chair_i, chair_s, recall } = chairFigures(scored);
    const response = chairFigures(naming).chair_s;
    const missing = part.filter(({ answer }) => answer === undefined).length;
    const numWords = scored.reduce((sum, { answer }) => sum + answer.text.trim().split(' ').length, 0);
    return {
      n: scored.length,
      score: response,
      // Over the answers that name any COCO object.
      response_hall: response,
      object_hall: chair_i,
      chair_s,
      recall,
      length: finite(numWords / scored.length),
      coco_sentences: naming.length,
      ...mentionInterval(scored.map((one) => ({ ...one, mentions: oneOf(one) }))),
      failed: part.length - missing - scored.length,
      ...(missing > 0 && { missing }),
    };
  },
  failed: (questions) => questions.filter(({ answer }) => answer !== undefined && answer.mentions === undefined).length,
  items: (questions) =>
    questions.flatMap(({ label, answer }) => {
      const mentions = answer?.mentions ?? [];
      if (mentions.length === 0) return [];
      return [{ split: '', id: label.id, cluster: label.cluster, value: +!isWrong(label, mentions) }];
    }),
});

function isWrong(label: ImageLabel, mentions: readonly Mention[]): boolean {
  return mentions.some((mention) => !label.classes.has(mention.class));
}

/** For the headline's interval: an answer that names objects counts once, as hallucinated if any is absent. */
function oneOf({ label, mentions }: Scored): Mention[] {
  const [first] = mentions;
  if (first === undefined) return [];
  return [mentions.find((mention) => !label.classes.has(mention.class)) ?? first];
}

/** hall_obj_halbench_*.json: {sentences: [{image_id, caption, mscoco_generated_words, mscoco_gt_words}]}. */
function reviews(file: EvalFile, files: readonly EvalFile[]): Listed[] {
  const sentences = file.object?.sentences;
  if (!Array.isArray(sentences))
    throw new RecordError(
      { source: file.path, line: 1 },
      'sentences',
      'the sentences of a review file (hall_obj_halbench_*.json)',
      describeValue(sentences),
    );
  return sentences.map((sentence: unknown, index) => {
    const at = { source: file.path, line: index + 1 };
    if (!isObject(sentence)) throw new RecordError(at, `sentences[${index}]`, 'an object', describeValue(sentence));
    const { image_id: id, caption, mscoco_generated_words: named, mscoco_gt_words: truth } = sentence;
    if (typeof caption !== 'string') throw new RecordError(at, 'caption', 'a string', describeValue(caption));
    if (!Array.isArray(truth) || !truth.every((word) => typeof word === 'string'))
      throw new RecordError(at, 'mscoco_gt_words', 'a list of words', describeValue(truth));
    return {
      ...{ id: cocoId(String(id)), at, model: files.length > 1 ? file.stem : '', text: caption, row: {} },
      mentions: reviewMentions(named, at),
      truth,
    };
  });
}

function reviewMentions(named: unknown, at: Place): Mention[] {
  if (Array.isArray(named) && named.every((pair) => Array.isArray(pair) && pair.length === 2))
    return named.map(([word, name]) => ({ word: String(word), class: String(name) }));
  throw new RecordError(at, 'mscoco_generated_words', 'a list of [word, class]', describeValue(named));
}

function ownLabels(answers: readonly Listed[]): ImageLabel[] {
  const labels = answers.map(({ id, at, truth = [] }) => ({ id, split: '', cluster: id, at, classes: new Set(truth) }));
  return [...new Map(labels.map((label) => [label.id, label])).values()];
}

const MAX_SHORT = 3;

function listedRecords({ answers: files, options }: EvalInput, objects: CocoObjects, english: English): Listed[] {
  return readJudged(files, 'objects', options).map((judged) => {
    const { id, at, model, run, failed, response, verdict } = judged;
    const text = response?.text ?? '';
    const names = isObject(verdict) ? verdict.names : undefined;
    const head = { id: cocoId(id), at, model, run, text, row: {} };
    // An answer of up to three words names no object, so no call is made.
    if (pythonSplit(text).length <= MAX_SHORT) return { ...head, mentions: [] };
    if (failed !== undefined) return { ...head, mentions: undefined };
    if (!Array.isArray(names))
      throw new RecordError(
        at,
        'annotations[].verdict',
        'the names that guide objects asks for',
        describeValue(verdict),
      );
    const words = names.flatMap((name) => nameWords(String(name), objects, english));
    return { ...head, mentions: mentionsOf([...new Set(words)], objects) };
  });
}

/** The objects of a name: its pairs of words, else each run of nouns. */
function nameWords(name: string, { pairs }: CocoObjects, english: English): string[] {
  const words = english.words(`a ${name.toLowerCase()}`);
  const tags = english.tags(words);
  const lemmas = words.map((word) => english.noun(word));
  const found: string[] = [];
  for (let at = 0; at < lemmas.length; at++) {
    const pair = pairs.get(lemmas.slice(at, at + 2).join(' '));
    if (pair === undefined) continue;
    found.push(pair);
    at += 1;
  }
  if (found.length > 0) return found;
  const marked = lemmas.map((lemma, index) => (tags[index]!.startsWith('NN') ? lemma : '\n'));
  return marked
    .join(' ')
    .split('\n')
    .map((run) => run.trim())
    .filter((run) => run !== '');
}
