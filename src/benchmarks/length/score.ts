// SPDX-License-Identifier: Apache-2.0
// Length of responses: code points, words, tokens. The papers give lengths without a unit, so all three are printed.

import { pythonLength, pythonSplit } from '../../python/text.ts';
import { type Answer, answersByModel, modelField, readAnswers } from '../scoring/answers.ts';
import { type EvalInput, type Evaluation, finite, groupBy, type ScoreRow } from '../scoring/score-row.ts';
import { clusteredInterval, meanOf, medianOf } from '../scoring/statistics.ts';

/** Lengths of all responses, by split if rows have one. `score` is the mean number of words. */
export function scoreLength({ answers: files, options }: EvalInput): Evaluation {
  const evaluation: Evaluation = { rows: [], items: [], notes: [], failed: 0 };
  for (const [model, ofModel] of answersByModel(readAnswers(files, options))) {
    const splits = groupBy(ofModel, (answer) => answer.split ?? '');
    for (const [split, part] of splits)
      if (split !== '' && splits.size > 1) evaluation.rows.push(lengthRow(split, model, part));
    evaluation.rows.push(lengthRow('all', model, ofModel));
    evaluation.failed += ofModel.filter((answer) => answer.failed !== undefined).length;
    for (const answer of ofModel)
      if (answer.failed === undefined)
        evaluation.items.push({
          model,
          split: answer.split ?? '',
          id: answer.id,
          cluster: clusterOf(answer),
          value: pythonSplit(answer.text).length,
        });
  }
  return evaluation;
}

function clusterOf(answer: Answer): string {
  const image = answer.record?.images?.[0] ?? answer.row.image;
  return typeof image === 'string' ? image : `${answer.split ?? ''}/${answer.id}`;
}

function lengthRow(split: string, model: string, answers: Answer[]): ScoreRow {
  const known = answers.filter((answer) => answer.failed === undefined);
  const words = known.map((answer) => pythonSplit(answer.text).length);
  const characters = known.map((answer) => pythonLength(answer.text));
  const tokens = known.flatMap((answer) => answer.response?.num_tokens ?? []);
  return {
    benchmark: 'length',
    split,
    ...modelField(model),
    n: known.length,
    score: finite(meanOf(words)),
    words: finite(meanOf(words)),
    words_median: finite(medianOf(words)),
    characters: finite(meanOf(characters)),
    characters_median: finite(medianOf(characters)),
    // A mean over only some of the responses would not be comparable.
    tokens: tokens.length === known.length ? finite(meanOf(tokens)) : null,
    tokens_median: tokens.length === known.length ? finite(medianOf(tokens)) : null,
    ...clusteredInterval(
      known.map((answer, index) => ({ cluster: clusterOf(answer), sums: [words[index]!, 1] })),
      ([sum, count]) => sum! / count!,
      [0, Number.POSITIVE_INFINITY],
    ),
    empty: known.filter((answer) => answer.text.trim() === '').length,
    failed: answers.length - known.length,
  };
}
