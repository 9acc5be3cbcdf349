// SPDX-License-Identifier: Apache-2.0
// A question of HallusionBench by its place: CATEGORY_SUBCATEGORY_SET_FIGURE_QUESTION. VLMEvalKit's index has the kind of
// figure as its third part. The official sample answers number it differently, so the id omits it.

import { RecordError } from '../../records/error.ts';
import { describeValue, type Place } from '../../records/field.ts';
import type { Label } from '../scoring/answers.ts';

export interface FigureLabel extends Label {
  /** VD: the answer depends on the figure; VS: the figure only supplements knowledge. */
  category: string;
  subcategory: string;
  /** All questions about this figure; undefined without a figure. */
  figure: string | undefined;
  /** The same question about every figure of its set. */
  pair: string;
  /** Whether the figure is edited. */
  isHard: boolean;
  /** VS without its figure: "I do not know" is a right answer. */
  mayBeUnclear: boolean;
  isYes: boolean | undefined;
}

const PLACE = ['category', 'subcategory', 'set_id', 'figure_id', 'question_id'] as const;

/** The label of a row of HallusionBench.json. Throws RecordError. */
export function figureLabel(value: Record<string, unknown>, at: Place): FigureLabel {
  const read = (name: string) => {
    const part = value[name];
    if ((typeof part === 'string' && part !== '') || typeof part === 'number') return String(part);
    throw new RecordError(at, name, 'a string or a number', describeValue(part));
  };
  const { gt_answer: truth } = value;
  if (truth !== undefined && !['0', '1'].includes(String(truth)))
    throw new RecordError(at, 'gt_answer', '0 (no) or 1 (yes)', describeValue(truth));
  const visual = read('visual_input');
  return labelOfId(PLACE.map(read).join('_'), {
    ...{ at, isHard: visual === '2' },
    isYes: truth === undefined ? undefined : String(truth) === '1',
  })!;
}

/** The label that an id names; undefined for other ids. */
export function labelOfId(id: string, own: Pick<FigureLabel, 'at' | 'isHard' | 'isYes'>): FigureLabel | undefined {
  const [, category, subcategory, set, figure, question] = /^(V[DS])_([a-z]+)_(\w+?)_(\w+?)_(\w+?)$/.exec(id) ?? [];
  if (category === undefined) return undefined;
  const ofSet = `${category}_${subcategory}_${set}`;
  const isBare = category === 'VS' && figure === '0';
  return {
    ...own,
    ...{ id, split: '', cluster: ofSet, category, mayBeUnclear: isBare },
    subcategory: `${category}_${subcategory}`,
    figure: isBare ? undefined : `${ofSet}_${figure}`,
    pair: `${ofSet}_${question}`,
  };
}

/** VLMEvalKit's index without its third part. */
export function idOfIndex(index: string): string {
  return index.replace(/^(V[DS]_[a-z]+)_\d(?=(?:_[^_]+){3}$)/, '$1');
}
