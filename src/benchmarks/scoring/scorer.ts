// SPDX-License-Identifier: Apache-2.0
// Shared by scorers: groups answers by model, joins each run with the labels, and prints one row per part and one for all.
// A scorer defines only its readers, marks, parts and figures.
import { count } from '../../records/count.ts';
import { type Answer, answersByModel, type Label, modelField } from './answers.ts';
import type { EvalFile } from './file.ts';
import { countStates, type Joined, joinAnswers } from './join.ts';
import {
  accuracy,
  type EvalInput,
  type Evaluation,
  groupBy,
  type Item,
  labelHashes,
  type Marked,
  type ScoreRow,
  type Scorer,
} from './score-row.ts';

/** L: a label, A: an answer, Q: a question with its mark. */
export interface ScorerSpec<L extends Label, A extends Answer, Q> {
  benchmark: string;
  /** Reads the files; records may hold their labels. Appends remarks to `notes`. */
  read(input: EvalInput, notes: string[]): { labels: L[]; answers: A[] };
  /** The labels that apply to a model; default: all. */
  asked?(labels: L[], answers: A[]): L[];
  /** Marks one model's questions over all its runs. */
  mark(joined: Joined<L, A>[], input: EvalInput, notes: string[]): Q[];
  /** Parts in row order, before `all`; a part without questions gives no row. */
  parts?(questions: Q[], labels: L[]): Iterable<readonly [split: string, questions: Q[]]>;
  /** The row's figures, from n and score to the counts of failed and missing. */
  figures(part: Q[], where: Where): Pick<ScoreRow, 'n' | 'score' | 'failed'>;
  /** Label files that the row depends on; default: all. */
  labelFiles?(part: Q[]): EvalFile[];
  /** Failed answers and judge calls. */
  failed(questions: Q[]): number;
  /** Values for `eval compare`. */
  items(questions: Q[]): Omit<Item, 'model'>[];
  /** How the official script counts a failed judge call, for the note. */
  officialFailure?: string;
}

export interface Where {
  split: string;
  input: EvalInput;
}

export function benchmarkScorer<L extends Label, A extends Answer, Q>(spec: ScorerSpec<L, A, Q>): Scorer {
  return (input) => {
    const { options } = input;
    const evaluation: Evaluation = { rows: [], items: [], notes: [], failed: 0 };
    const { notes } = evaluation;
    const { labels: all, answers } = spec.read(input, notes);
    for (const [model, ofModel] of answersByModel(answers)) {
      const labels = spec.asked?.(all, ofModel) ?? all;
      const runs = groupBy(ofModel, (answer) => answer.run);
      const joined = [...runs.values()].flatMap((ofRun) => joinAnswers(labels, ofRun, options, notes));
      const questions = spec.mark(joined, input, notes);
      for (const [split, part] of [...(spec.parts?.(questions, labels) ?? []), ['all', questions] as const])
        if (part.length > 0 || split === 'all')
          evaluation.rows.push({
            benchmark: spec.benchmark,
            split,
            ...modelField(model),
            ...spec.figures(part, { split, input }),
            ...labelHashes(spec.labelFiles?.(part) ?? input.labels),
            parse: options.parse,
          });
      evaluation.failed += spec.failed(questions);
      evaluation.items.push(...spec.items(questions).map((item) => ({ model, ...item })));
    }
    if (evaluation.failed > 0 && spec.officialFailure !== undefined)
      notes.push(
        `${count(evaluation.failed, 'failed judge request is', 'failed judge requests are')} not scored; --include-failed scores failures as the official script does (${spec.officialFailure})`,
      );
    return evaluation;
  };
}

/** A question with its mark; no mark if it is not scored. */
export interface MarkedQuestion<L extends Label = Label> extends Joined<L> {
  mark: Marked | undefined;
}

/** The figures of an accuracy in percent. */
export function accuracyFigures(part: readonly MarkedQuestion[]) {
  return { ...accuracy(part.flatMap(({ mark }) => mark ?? [])), ...countStates(part) };
}

/** The marks as 0 or 1 per question, for `eval compare`. */
export function markedItems<Q extends MarkedQuestion>(questions: readonly Q[], splitOf: (question: Q) => string) {
  return questions.flatMap((question) => {
    const { label, mark } = question;
    if (mark === undefined) return [];
    return [{ split: splitOf(question), id: label.id, cluster: label.cluster, value: +mark.correct }];
  });
}

/** Failed answers of the questions. */
export function failedAnswers(questions: readonly Joined<Label>[]): number {
  return countStates(questions).failed;
}

/** Groups of questions as parts; none for a single group. */
export function partsBy<Q>(questions: readonly Q[], keyOf: (question: Q) => string): [string, Q[]][] {
  const groups = groupBy(questions, keyOf);
  return groups.size > 1 ? [...groups] : [];
}
