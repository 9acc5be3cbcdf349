// SPDX-License-Identifier: Apache-2.0
// Self-consistency of sampled answers: a judge's rating (1 to 10) against the question (Q) and against the greedy answer (A), by
// temperature. Source: Zhu et al. 2024 (SeVa), table 5.

import { RecordError } from '../../records/error.ts';
import { modelField } from '../scoring/answers.ts';
import { type Judged, readJudged, scoreOf } from '../scoring/judged.ts';
import { type EvalInput, type Evaluation, finite, groupBy, type ScoreRow } from '../scoring/score-row.ts';
import { clusteredInterval, meanOf } from '../scoring/statistics.ts';

const FIGURES = ['q_consistency', 'a_consistency'] as const;

/** Scores records judged with guide consistency; `score` is the mean of Q and A. */
export function scoreConsistency({ answers: files, options }: EvalInput): Evaluation {
  const evaluation: Evaluation = { rows: [], items: [], notes: [], failed: 0 };
  const judged = readJudged(files, 'consistency', options);
  const temperatures = groupBy(judged, temperatureOf);
  const sorted = [...temperatures].sort(([a], [b]) => Number(a) - Number(b));
  for (const [temperature, group] of sorted)
    if (temperature !== '') evaluation.rows.push(consistencyRow(`temperature=${temperature}`, group));
  evaluation.rows.push(consistencyRow('all', judged));
  evaluation.failed = judged.filter((entry) => entry.failed !== undefined).length;
  for (const [id, group] of groupBy(judged, (entry) => entry.id)) {
    const values = group
      .filter((entry) => entry.failed === undefined)
      .flatMap((entry) => FIGURES.map((name) => rating(entry, name)));
    if (values.length > 0)
      evaluation.items.push({ model: '', split: '', id, cluster: clusterOf(group[0]!), value: meanOf(values) });
  }
  return evaluation;
}

function consistencyRow(split: string, group: Judged[]): ScoreRow {
  const known = group.filter((entry) => entry.failed === undefined);
  const [q, a] = FIGURES.map((name) => meanOf(known.map((entry) => rating(entry, name)))) as [number, number];
  return {
    benchmark: 'consistency',
    split,
    ...modelField(group[0]?.model ?? ''),
    n: known.length,
    score: finite((q + a) / 2),
    q_consistency: finite(q),
    a_consistency: finite(a),
    ...clusteredInterval(
      known.map((entry) => ({
        cluster: clusterOf(entry),
        sums: [rating(entry, 'q_consistency') + rating(entry, 'a_consistency'), 2],
      })),
      ([sum, count]) => sum! / count!,
      [1, 10],
    ),
    failed: group.length - known.length,
  };
}

function rating(entry: Judged, name: (typeof FIGURES)[number]): number {
  const value = scoreOf(entry, name);
  if (value >= 1 && value <= 10) return value;
  throw new RecordError(entry.at, `annotations[].scores.${name}`, 'a rating from 1 to 10', String(value));
}

function clusterOf({ record }: Judged): string {
  return record.images?.[0] ?? record.group ?? record.id;
}

// A label such as "t0.7" or "temperature=0.7" distinguishes runs in one record; without it the record's `sampling` does.
function temperatureOf({ response, record }: Judged): string {
  const own = (response as { temperature?: number } | undefined)?.temperature;
  const labelled = /(?:^|[^a-z])t(?:emp(?:erature)?)?\s*[=_-]?\s*(\d+(?:\.\d+)?)$/i.exec(response?.label ?? '')?.[1];
  return String(own ?? labelled ?? record.sampling?.temperature ?? '');
}
