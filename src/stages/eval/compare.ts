// SPDX-License-Identifier: Apache-2.0
// eval compare: two runs on the same questions. Reports wins and losses, and whether the difference is significant.
import { list } from '../../benchmarks/scoring/join.ts';
import {
  type EvalOptions,
  type Evaluation,
  finite,
  groupBy,
  type Item,
  type ScoreRow,
} from '../../benchmarks/scoring/score-row.ts';
import { bootstrapDifference, type Contribution, meanOf, signTest } from '../../benchmarks/scoring/statistics.ts';
import { UsageError } from '../../records/error.ts';

export interface CompareOptions extends Pick<EvalOptions, 'allowMissing' | 'resamples' | 'seed'> {
  benchmark: string;
  /** exact: sign test on wins and losses. bootstrap: test of the mean difference, resampled by image. */
  test: 'exact' | 'bootstrap';
}

/** A run by name, with the value of each of its questions. */
export interface ComparedRun {
  name: string;
  items: Item[];
}

/** The two runs of one or two evaluations: two models of one file, or one model in each of two files. */
export function comparedRuns(
  evaluations: readonly { path: string; evaluation: Evaluation }[],
): [ComparedRun, ComparedRun] {
  const runs = evaluations.flatMap(({ path, evaluation }) =>
    [...groupBy(evaluation.items, (item) => item.model)].map(([model, items]) => ({ name: model || path, items })),
  );
  const [first, second] = runs;
  if (runs.length === 2 && first !== undefined && second !== undefined) {
    if (first.name !== second.name) return [first, second];
    return [first, second].map((run, k) => ({ ...run, name: evaluations[k]!.path })) as [ComparedRun, ComparedRun];
  }
  const names = runs.map((run) => run.name).join(', ') || 'none';
  throw new UsageError(
    `compare: expected two runs (two files, or one with the answers of two models), got ${runs.length}: ${names}`,
  );
}

/** One row per split and one for all: wins, ties and losses of the first run, the mean difference, and a test. */
export function compareRuns([a, b]: [ComparedRun, ComparedRun], options: CompareOptions, notes: string[]): ScoreRow[] {
  const keyOf = (item: Item) => `${item.split}\n${item.id}`;
  const ofB = new Map(b.items.map((item) => [keyOf(item), item]));
  const ofA = new Set(a.items.map(keyOf));
  const alone = [
    ...a.items.filter((item) => !ofB.has(keyOf(item))),
    ...b.items.filter((item) => !ofA.has(keyOf(item))),
  ];
  const text = list(
    alone.map((item) => (item.split === '' ? item.id : `${item.split}/${item.id}`)),
    'question is scored in one run only',
    'questions are scored in one run only',
  );
  if (text !== undefined) {
    if (!options.allowMissing)
      throw new UsageError(
        `compare: expected the same questions in ${a.name} and ${b.name}: ${text} (--allow-missing compares the others)`,
      );
    notes.push(`${text}: left out`);
  }
  const pairs = a.items.flatMap((item) => {
    const other = ofB.get(keyOf(item));
    return other === undefined ? [] : [{ item, a: item.value, b: other.value }];
  });
  const splits = groupBy(pairs, ({ item }) => item.split);
  const parts = [...(splits.size > 1 ? splits : []), ['all', pairs] as const];
  return parts.map(([split, part]) => compareRow(split, part, { a: a.name, b: b.name, options }));
}

type PairOfItems = { item: Item; a: number; b: number };

function compareRow(
  split: string,
  pairs: readonly PairOfItems[],
  { a, b, options }: { a: string; b: string; options: CompareOptions },
): ScoreRow {
  const n = pairs.length;
  const wins = pairs.filter((pair) => pair.a > pair.b).length;
  const losses = pairs.filter((pair) => pair.a < pair.b).length;
  const ties = n - wins - losses;
  const contributions = pairs.map((pair): Contribution => ({ cluster: pair.item.cluster, sums: [pair.a - pair.b, 1] }));
  const bootstrap = bootstrapDifference(contributions, options.resamples, options.seed);
  return {
    benchmark: 'compare',
    split,
    n,
    score: finite((100 * (wins + 0.5 * ties)) / n),
    on: options.benchmark,
    a,
    b,
    wins,
    ties,
    losses,
    win_rate: finite(wins / n),
    win_rate_adjusted: finite((wins + 0.5 * ties) / n),
    // As in the papers' pairwise comparisons: ties are dropped.
    win_rate_decided: finite(wins / (wins + losses)),
    mean_a: finite(meanOf(pairs.map((pair) => pair.a))),
    mean_b: finite(meanOf(pairs.map((pair) => pair.b))),
    difference: finite(meanOf(pairs.map((pair) => pair.a - pair.b))),
    difference_ci95: bootstrap.ci95,
    clusters: new Set(pairs.map((pair) => pair.item.cluster)).size,
    test: options.test,
    p_value: options.test === 'exact' ? signTest(wins, losses) : bootstrap.p_value,
  };
}
