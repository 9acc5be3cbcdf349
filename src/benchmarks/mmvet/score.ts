// SPDX-License-Identifier: Apache-2.0
// MM-Vet: mean grade of the items that need a capability, over one or several judge runs. Source: mm-vet_evaluator.py.

import { pythonFloat } from '../../python/number.ts';
import { numpyMean, numpyRound, numpyStd } from '../../python/numpy.ts';
import { pythonStrip } from '../../python/text.ts';
import { RecordError, UsageError } from '../../records/error.ts';
import { describeValue } from '../../records/field.ts';
import { withoutReasoning } from '../../text/reasoning.ts';
import { type Answer, type Label, labelsOfRecords, type OwnLabel } from '../scoring/answers.ts';
import { type EvalFile, objectEntries } from '../scoring/file.ts';
import { type Joined, list } from '../scoring/join.ts';
import { holdRecords, readJudged, scoreOf } from '../scoring/judged.ts';
import { type EvalOptions, finite, groupBy } from '../scoring/score-row.ts';
import { benchmarkScorer } from '../scoring/scorer.ts';
import { clusteredInterval } from '../scoring/statistics.ts';

const CAPABILITIES = ['rec', 'ocr', 'know', 'gen', 'spat', 'math'];

interface MMVetLabel extends Label {
  capabilities: string[];
}

/** Grades of one answer by run; undefined: the judge call failed. */
interface Graded extends Answer {
  grades: (number | undefined)[];
}

/** The official parser: the first word as Python's float, in [0, 1] (or NaN); else undefined. */
export function parseGradeOfficial(content: string): number | undefined {
  const grade = pythonFloat(pythonStrip(content.split(' ', 1)[0]!));
  return grade === undefined || grade > 1 || grade < 0 ? undefined : grade;
}

/** The first number of the reply, if it is a grade. */
export function parseGradeStrict(content: string): number | undefined {
  const said = withoutReasoning(content);
  const first = /(?<![\d.-])\d+(?:\.\d+)?|(?<![\d.-])\.\d+/.exec(said)?.[0];
  const grade = first === undefined ? Number.NaN : Number(first);
  return grade >= 0 && grade <= 1 ? grade : undefined;
}

/** Scores grade files (one per model) or records judged with guide mm-vet. */
export const scoreMMVet = benchmarkScorer<MMVetLabel, Graded, GradedQuestion>({
  benchmark: 'mmvet',
  read: ({ answers: files, labels, options }) => ({
    answers: holdRecords(files)
      ? gradedRecords(files, options)
      : files.flatMap((file) => gradedFile(file, files, options)),
    labels:
      labels.length > 0
        ? readLabels(labels)
        : labelsOfRecords(files, '--labels mm-vet.json, or records with meta.capability', recordLabel),
  }),
  mark(joined, { options }, notes) {
    const graded = joined.flatMap(({ answer }) => answer ?? []);
    const numRuns = checkRuns(graded, notes, options);
    return joined.map((question) => ({ ...question, numRuns }));
  },
  parts: (questions) => [
    ...CAPABILITIES.map(
      (name) => [name, answered(questions).filter(({ label }) => label.capabilities.includes(name))] as const,
    ),
    ...[...groupBy(answered(questions), ({ label }) => label.capabilities.join('+'))]
      .sort(([, a], [, b]) => b.length - a.length)
      .map(([name, group]) => [`combination:${name}`, group] as const),
  ],
  figures(part, { split }) {
    const missing = part.length - answered(part).length;
    return { ...gradeFigures(answered(part)), ...(missing > 0 && split === 'all' && { missing }) };
  },
  failed: (questions) => countFailed(answered(questions)),
  items: (questions) =>
    answered(questions).flatMap(({ label, answer }) => {
      const known = knownGrades(answer);
      return known.length === 0 ? [] : [{ split: '', id: label.id, cluster: label.cluster, value: numpyMean(known) }];
    }),
  officialFailure: '0',
});

interface GradedQuestion extends Joined<MMVetLabel, Graded> {
  numRuns: number;
}

type Answered = GradedQuestion & { answer: Graded };

function answered(questions: readonly GradedQuestion[]): Answered[] {
  return questions.filter((question): question is Answered => question.answer !== undefined);
}

function knownGrades({ grades }: Graded): number[] {
  return grades.filter((grade) => grade !== undefined);
}

function countFailed(part: readonly Answered[]): number {
  return part.reduce((sum, { answer }) => sum + answer.grades.length - knownGrades(answer).length, 0);
}

function gradeFigures(part: readonly Answered[]) {
  const totals = Array.from({ length: part[0]?.numRuns ?? 0 }, (_, run) => {
    let sum = 0;
    let count = 0;
    for (const { answer } of part) {
      const grade = answer.grades[run];
      if (grade === undefined) continue;
      sum += grade;
      count += 1;
    }
    return (sum / count) * 100;
  });
  const score = numpyMean(totals);
  const contributions = part.flatMap(({ label, answer }) => {
    const known = knownGrades(answer);
    return known.length === 0 ? [] : [{ cluster: label.cluster, sums: [100 * numpyMean(known), 1] }];
  });
  return {
    n: contributions.length,
    score: finite(score),
    printed: finite(numpyRound(score, 1)),
    runs: totals.map(finite),
    std: finite(numpyStd(totals)),
    ...clusteredInterval(contributions, ([sum, count]) => sum! / count!, [0, 100]),
    failed: countFailed(part),
  };
}

// Runs with missing grades would be means over different questions.
function checkRuns(items: readonly Graded[], notes: string[], options: EvalOptions): number {
  const numRuns = Math.max(0, ...items.map(({ grades }) => grades.length));
  const short = items.filter(({ grades }) => grades.length < numRuns);
  if (short.length === 0) return numRuns;
  const text = list(
    short.map(({ id, grades }) => `${id} (${grades.length} of ${numRuns})`),
    'item lacks judge runs',
    'items lack judge runs',
  )!;
  if (!options.allowMissing)
    throw new UsageError(`mmvet: ${text} (--allow-missing scores the runs that all items have)`);
  const common = Math.min(...items.map(({ grades }) => grades.length));
  notes.push(`${text}: ${common} scored`);
  return common;
}

function gradedRecords(files: readonly EvalFile[], options: EvalOptions): Graded[] {
  const groups = groupBy(readJudged(files, 'mm-vet', options), ({ model, at }) => `${model}\n${at.source}:${at.line}`);
  return [...groups.values()].map((runs) => {
    const [{ model, id, at }] = runs as [(typeof runs)[0]];
    return {
      ...{ model, id: mmvetId(id), at, text: '', row: {} },
      grades: runs
        .sort((a, b) => a.run - b.run)
        .map((run) => (run.failed === undefined ? scoreOf(run, 'grade') : undefined)),
    };
  });
}

function gradedFile(file: EvalFile, files: readonly EvalFile[], options: EvalOptions): Graded[] {
  const model = files.length > 1 ? file.stem : '';
  const rows = objectEntries(file, 'grades, {"model": [], "content": [], "score": []}');
  return rows.map(({ key, value, at }) => {
    const { score, content } = value;
    if (!Array.isArray(score) || !score.every((grade) => typeof grade === 'number'))
      throw new RecordError(at, `${key}.score`, 'an array of numbers', describeValue(score));
    if (content !== undefined && (!Array.isArray(content) || content.length !== score.length))
      throw new RecordError(at, `${key}.content`, `an array of ${score.length} replies`, describeValue(content));
    const grades = score.map((grade: number, run) => {
      if (!(grade >= 0 && grade <= 1) && !Number.isNaN(grade))
        throw new RecordError(at, `${key}.score[${run}]`, 'a grade in [0, 1]', String(grade));
      return gradeOfRun(grade, content?.[run], options);
    });
    return { model, id: mmvetId(key), at, text: '', row: {}, grades };
  });
}

// After six bad replies the official script writes 0, and NaN passes its range check: neither is a grade.
function gradeOfRun(grade: number, content: unknown, options: EvalOptions): number | undefined {
  if (options.includeFailed) return grade;
  if (Number.isNaN(grade)) return undefined;
  if (typeof content !== 'string') return grade;
  const read = options.parse === 'official' ? parseGradeOfficial(content) : parseGradeStrict(content);
  if (read === undefined || Number.isNaN(read)) return undefined;
  return options.parse === 'official' ? grade : read;
}

/** LLaVA's question_id n is MM-Vet's v1_n. */
export function mmvetId(id: string): string {
  return /^\d+$/.test(id) ? `v1_${id}` : id;
}

function readLabels(files: readonly EvalFile[]): MMVetLabel[] {
  return files.flatMap((file) =>
    objectEntries(file, 'an item, an object').map(({ key, value, at }) => {
      const { capability, imagename } = value;
      if (!Array.isArray(capability) || capability.length === 0)
        throw new RecordError(at, `${key}.capability`, 'a list of capabilities', describeValue(capability));
      return {
        id: key,
        split: '',
        cluster: String(imagename ?? key),
        at,
        capabilities: inOrder(capability.map(String)),
      };
    }),
  );
}

function recordLabel({ record, id, cluster, at }: OwnLabel): MMVetLabel | undefined {
  const capabilities = record.meta?.capability;
  if (!Array.isArray(capabilities)) return undefined;
  return { id: mmvetId(id), split: '', cluster, at, capabilities: inOrder(capabilities.map(String)) };
}

// The official columns come from a set, in random order; ours follow the paper.
function inOrder(capabilities: string[]): string[] {
  const rank = (name: string) => (CAPABILITIES.includes(name) ? CAPABILITIES.indexOf(name) : CAPABILITIES.length);
  return [...new Set(capabilities)].sort((a, b) => rank(a) - rank(b));
}
