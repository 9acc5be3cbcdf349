// SPDX-License-Identifier: Apache-2.0
// The walk that scorers share: answers by model, each run joined with the labels, one row per part and one for all of them.
// A scorer is its readers, its marks, its parts and its figures.
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

/** L: what a label says, A: an answer, Q: a question with its mark. */
export interface ScorerSpec<L extends Label, A extends Answer, Q> {
  benchmark: string;
  /** Reads the files; records may carry their own labels. Remarks go to `notes`. */
  read(input: EvalInput, notes: string[]): { labels: L[]; answers: A[] };
  /** The labels that a model is asked about, when not all. */
  asked?(labels: L[], answers: A[]): L[];
  /** Marks one model's questions, those of all its runs together. */
  mark(joined: Joined<L, A>[], input: EvalInput, notes: string[]): Q[];
  /** Parts in the order of their rows, before that of `all`; one without questions gives no row. */
  parts?(questions: Q[], labels: L[]): Iterable<readonly [split: string, questions: Q[]]>;
  /** The row's figures, from n and score to its counts of failed and missing. */
  figures(part: Q[], where: Where): Pick<ScoreRow, 'n' | 'score' | 'failed'>;
  /** Label files that the row depends on, when not all. */
  labelFiles?(part: Q[]): EvalFile[];
  /** Failed answers and judge calls. */
  failed(questions: Q[]): number;
  /** What `eval compare` pairs. */
  items(questions: Q[]): Omit<Item, 'model'>[];
  /** What the official script makes of a failed judge call, for the note. */
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
        `${evaluation.failed} failed judge requests are not scored; --include-failed scores them as the official script does (${spec.officialFailure})`,
      );
    return evaluation;
  };
}

/** A question with its mark; none where it is not scored. */
export interface MarkedQuestion<L extends Label = Label> extends Joined<L> {
  mark: Marked | undefined;
}

/** The figures of an accuracy in percent. */
export function accuracyFigures(part: readonly MarkedQuestion[]) {
  return { ...accuracy(part.flatMap(({ mark }) => mark ?? [])), ...countStates(part) };
}

/** The marks as items: 1 for a right answer. */
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

/** Groups of questions as parts; none where all are in one. */
export function partsBy<Q>(questions: readonly Q[], keyOf: (question: Q) => string): [string, Q[]][] {
  const groups = groupBy(questions, keyOf);
  return groups.size > 1 ? [...groups] : [];
}
