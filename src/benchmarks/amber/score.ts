// SPDX-License-Identifier: Apache-2.0
// AMBER: yes-no questions, where no is the positive class, and descriptions. Source: junyangwang0410/AMBER inference.py,
// whose counters start at 0.001 and whose F1 is made of rounded figures; `--parse strict` has neither.

import { pythonRound } from '../../python/number.ts';
import { count } from '../../records/count.ts';
import { type Answer, labelsOfRecords, readAnswers } from '../scoring/answers.ts';
import { countStates, type Joined, withoutUnasked } from '../scoring/join.ts';
import { type EvalOptions, finite } from '../scoring/score-row.ts';
import { benchmarkScorer, failedAnswers } from '../scoring/scorer.ts';
import { clusteredInterval } from '../scoring/statistics.ts';
import { strictYesNo } from '../scoring/yes-no.ts';
import { describe, type Named, readAmberTables } from './describe.ts';
import { type AmberLabel, annotationLabels, GENERATIVE, ownLabel } from './label.ts';

interface AmberQuestion extends Joined<AmberLabel> {
  isScored: boolean;
  /** Answer of a question; undefined: neither yes nor no, which counts as wrong. */
  said: 'yes' | 'no' | undefined;
  /** Counts of a description. */
  named: Named | undefined;
  /** Name of the vectors behind near words; undefined: none used. */
  similar: string | undefined;
}

const ATTRIBUTES = ['state', 'number', 'action'];
const isQuestion = ({ label }: AmberQuestion) => label.kind !== GENERATIVE;

/** Scores answers to questions, to descriptions, or to both. */
export const scoreAmber = benchmarkScorer<AmberLabel, Answer, AmberQuestion>({
  benchmark: 'amber',
  read({ answers: files, labels: labelFiles, questions, options }, notes) {
    const answers = readAnswers(files, options);
    const labels =
      labelFiles.length > 0
        ? annotationLabels(labelFiles, questions)
        : labelsOfRecords(files, '--labels annotations.json, or records with meta.type', ownLabel);
    const asked = withoutUnasked(
      labels,
      answers,
      ({ kind }) => (ATTRIBUTES.includes(kind) ? 'attribute' : kind),
      notes,
    );
    if (labelFiles.length > 0 && questions.length === 0 && asked.some(({ kind }) => kind !== GENERATIVE))
      notes.push(
        'intervals treat questions about the same image as independent (--questions query_all.json groups them)',
      );
    return { answers, labels: asked };
  },
  mark(joined, { tables: files, options }, notes) {
    const tables = joined.some(({ label }) => label.kind === GENERATIVE) ? readAmberTables(files) : undefined;
    const questions = joined.map((question): AmberQuestion => {
      const { label, answer } = question;
      const isScored = answer !== undefined && answer.failed === undefined;
      const isText = isScored && label.kind === GENERATIVE;
      return {
        ...question,
        isScored,
        said: isScored && !isText ? readYesNo(answer.text, options) : undefined,
        named: isText ? describe(answer.text, label, tables!) : undefined,
        similar: tables?.similar?.model,
      };
    });
    const others = questions.filter((one) => one.isScored && isQuestion(one) && one.said === undefined).length;
    if (others > 0 && options.parse === 'official')
      notes.push(
        `${count(others, 'answer is', 'answers are')} not exactly Yes or No, and count as neither, as in the official script (--parse strict parses them)`,
      );
    return questions;
  },
  parts(questions) {
    const part = (split: string, kinds: readonly string[]) =>
      [split, questions.filter(({ label }) => kinds.includes(label.kind))] as const;
    const discriminative = questions.filter(isQuestion);
    return [
      part('existence', ['existence']),
      part('attribute', ATTRIBUTES),
      ...ATTRIBUTES.map((kind) => part(kind, [kind])),
      part('relation', ['relation']),
      ...(discriminative.length < questions.length
        ? ([['discriminative', discriminative], part(GENERATIVE, [GENERATIVE])] as const)
        : []),
    ];
  },
  figures(part, { split, input }) {
    const scored = part.filter(({ isScored }) => isScored);
    const [answers, texts] = [scored.filter(isQuestion), scored.filter((question) => !isQuestion(question))];
    const yesNo = answers.length > 0 ? yesNoFigures(answers, split, input.options) : undefined;
    const described = texts.length > 0 ? descriptionFigures(texts, input.options) : undefined;
    const states = { unparsed: answers.filter(({ said }) => said === undefined).length, ...countStates(part) };
    if (yesNo === undefined || described === undefined)
      return { ...{ n: 0, score: null }, ...(yesNo ?? described), ...states };
    const { ci95, clusters, ...questionFigures } = yesNo;
    // The paper's combined score: (100 - CHAIR + F1) / 2.
    const chair = described.printed ?? described.score ?? Number.NaN;
    const score = finite((100 - chair + (yesNo.f1 ?? Number.NaN)) / 2);
    return {
      ...questionFigures,
      ...described,
      ...{ n: scored.length, score, printed: undefined },
      ...officialNames({ amber_score: score }, texts[0]!.similar),
      ...{ ci95: null, clusters: clusterCount(scored) },
      ...states,
    };
  },
  failed: failedAnswers,
  items: (questions) =>
    questions.flatMap(({ label, isScored, said, named }) => {
      const head = { split: label.kind, id: label.id, cluster: label.cluster };
      if (!isScored) return [];
      if (named === undefined) return [{ ...head, value: +((said === 'yes') === label.isYes && said !== undefined) }];
      return named.nouns === 0 ? [] : [{ ...head, value: 1 - named.hallucinated / named.nouns }];
    }),
});

// The official files hold only Yes or No, so strings are compared.
function readYesNo(text: string, { parse }: EvalOptions): 'yes' | 'no' | undefined {
  if (parse === 'strict') return strictYesNo(text);
  return text === 'Yes' ? 'yes' : text === 'No' ? 'no' : undefined;
}

function clusterCount(questions: readonly AmberQuestion[]): number {
  return new Set(questions.map(({ label }) => label.cluster)).size;
}

function sumOf<T>(values: readonly T[], read: (value: T) => number): number {
  return values.reduce((sum, value) => sum + read(value), 0);
}

/** Accuracy, precision and recall of no, and F1. */
function yesNoFigures(part: readonly AmberQuestion[], split: string, { parse }: EvalOptions) {
  const isRight = ({ said, label }: AmberQuestion) => said !== undefined && (said === 'yes') === label.isYes;
  const saysNo = ({ said }: AmberQuestion) => said === 'no';
  const isNo = ({ label }: AmberQuestion) => !label.isYes;
  const count = (is: (question: AmberQuestion) => boolean) => part.filter(is).length;
  const hits = count((question) => saysNo(question) && isNo(question));
  const isOfficial = parse === 'official';
  const percent = (hits: number, total: number) =>
    isOfficial ? pythonRound((hits / (total + 0.001)) * 100, 1) : (100 * hits) / total;
  const [precision, recall] = [percent(hits, count(saysNo)), percent(hits, count(isNo))];
  const [p, r] = [precision / 100, recall / 100];
  const f1 = ((2 * p * r) / (p + r + (isOfficial ? (split === 'existence' ? 0.001 : 0.0001) : 0))) * 100;
  const contributions = part.map((question) => ({
    cluster: question.label.cluster,
    sums: [+(saysNo(question) && isNo(question)), +saysNo(question), +isNo(question)],
  }));
  return {
    n: part.length,
    score: finite(f1),
    ...(isOfficial && { printed: finite(pythonRound(f1, 1)) }),
    accuracy: finite(percent(count(isRight), part.length)),
    precision: finite(precision),
    recall: finite(recall),
    f1: finite(isOfficial ? pythonRound(f1, 1) : f1),
    ...clusteredInterval(contributions, ([hit, said, no]) => (200 * hit!) / (said! + no!), [0, 100]),
  };
}

/** Without near words the figure differs from the official one, so it gets another name. */
function officialNames(figures: Readonly<Record<string, number | null>>, similar: string | undefined) {
  if (similar !== undefined) return figures;
  return Object.fromEntries(Object.entries(figures).map(([name, value]) => [`exact_${name}`, value]));
}

/** CHAIR, cover, Hal and Cog. */
function descriptionFigures(part: readonly AmberQuestion[], { parse }: EvalOptions) {
  const named = part.map((question) => question.named!);
  const isOfficial = parse === 'official';
  const raw = (hits: number, total: number) => (hits / (total + (isOfficial ? 0.001 : 0))) * 100;
  const printed = (value: number) => finite(isOfficial ? pythonRound(value, 1) : value);
  const count = (key: keyof Named) => sumOf(named, (one) => one[key]);
  const chair = raw(count('hallucinated'), count('nouns'));
  const clean = named.filter(({ hallucinated }) => hallucinated === 0).length;
  const numTruths = sumOf(part, ({ label }) => label.truth.length);
  const numImagined = sumOf(part, ({ label }) => label.hallu.length);
  const { similar } = part[0]!;
  const figures = {
    chair: printed(chair),
    cover: printed(raw(count('covered'), numTruths)),
    hal: printed(100 - raw(clean, part.length)),
    cog: printed(raw(count('imagined'), numImagined)),
  };
  return {
    n: part.length,
    score: finite(chair),
    ...(isOfficial && { printed: printed(chair) }),
    ...officialNames(figures, similar),
    similar: similar ?? 'none',
    ...clusteredInterval(
      part.map(({ label, named }) => ({ cluster: label.cluster, sums: [named!.hallucinated, named!.nouns] })),
      ([hallucinated, nouns]) => (100 * hallucinated!) / nouns!,
      [0, 100],
    ),
  };
}
