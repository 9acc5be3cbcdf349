// SPDX-License-Identifier: Apache-2.0
// Judges: counts and scores of each, and agreement with itself and with others.
import type { Annotation, VprefRecord } from '../../records/record.ts';
import type { Agreement, JudgePair, JudgeSummary, RecordSection } from './data.ts';

export interface JudgeData {
  judges: JudgeSummary[];
  judgePairs: JudgePair[];
}

export class JudgeSection implements RecordSection<JudgeData> {
  readonly #judges = new Map<string, JudgeTally>();
  readonly #pairs = new Map<string, { pair: JudgePair; counter: AgreementCounter }>();

  take(run: string, { annotations = [] }: VprefRecord): void {
    const byJudge = new Map<string, Annotation[]>();
    for (const entry of annotations) {
      const key = JSON.stringify([run, entry.judge, entry.guide]);
      byJudge.set(key, [...(byJudge.get(key) ?? []), entry]);
    }
    for (const [key, entries] of byJudge) {
      let tally = this.#judges.get(key);
      if (tally === undefined) {
        tally = new JudgeTally(run, entries[0]!.judge, entries[0]!.guide);
        this.#judges.set(key, tally);
      }
      tally.add(entries);
    }
    this.#compare(run, annotations);
  }

  data(): JudgeData {
    return {
      judges: [...this.#judges.values()].map((tally) => tally.summary()),
      judgePairs: [...this.#pairs.values()].map(({ pair, counter }) => ({ ...pair, agreement: counter.figures() })),
    };
  }

  /** Compares the first scores of each judge with those of every other judge under the same guide. */
  #compare(run: string, annotations: readonly Annotation[]): void {
    const first = new Map<string, Annotation>();
    for (const entry of annotations) {
      const key = JSON.stringify([entry.guide, entry.judge]);
      if (entry.scores !== undefined && !first.has(key)) first.set(key, entry);
    }
    if (first.size < 2) return;
    const entries = [...first.values()].sort((a, b) => (a.judge < b.judge ? -1 : 1));
    for (const [index, a] of entries.entries())
      for (const b of entries.slice(index + 1)) {
        if (a.guide !== b.guide) continue;
        const key = JSON.stringify([run, a.guide, a.judge, b.judge]);
        let known = this.#pairs.get(key);
        if (known === undefined) {
          const pair: JudgePair = { run, guide: a.guide, judges: [a.judge, b.judge], agreement: {} };
          known = { pair, counter: new AgreementCounter() };
          this.#pairs.set(key, known);
        }
        known.counter.add(a.scores!, b.scores!);
      }
  }
}

/** Two sets of scores for the same responses. */
class AgreementCounter {
  readonly #sums: Record<string, { equal: number; difference: number; n: number }> = {};

  add(first: NonNullable<Annotation['scores']>, second: NonNullable<Annotation['scores']>): void {
    for (const [index, scores] of first.entries()) {
      for (const [metric, value] of Object.entries(scores ?? {})) {
        const other = second[index]?.[metric];
        if (typeof value !== 'number' || typeof other !== 'number') continue;
        this.#sums[metric] ??= { equal: 0, difference: 0, n: 0 };
        const sums = this.#sums[metric];
        sums.n += 1;
        sums.equal += value === other ? 1 : 0;
        sums.difference += Math.abs(value - other);
      }
    }
  }

  figures(): Agreement {
    const figures = Object.entries(this.#sums).map(([metric, { equal, difference, n }]) => [
      metric,
      { equal: equal / n, meanDifference: difference / n, n },
    ]);
    return Object.fromEntries(figures);
  }
}

/** Counts of one judge under one guide. */
class JudgeTally {
  readonly #summary: JudgeSummary;
  readonly #repeated = new AgreementCounter();

  constructor(run: string, judge: string, guide: string) {
    this.#summary = { run, judge, guide, entries: 0, outcomes: {}, usage: {}, agreement: {} };
  }

  /** The entries of one record. */
  add(entries: readonly Annotation[]): void {
    const { outcomes, usage } = this.#summary;
    for (const entry of entries) {
      this.#summary.entries += 1;
      outcomes[entry.outcome] = (outcomes[entry.outcome] ?? 0) + 1;
      for (const [name, amount] of Object.entries(entry.usage ?? {}))
        if (typeof amount === 'number') usage[name] = (usage[name] ?? 0) + amount;
    }
    const scored = entries.flatMap(({ scores }) => (scores === undefined ? [] : [scores]));
    for (const [index, first] of scored.entries())
      for (const second of scored.slice(index + 1)) this.#repeated.add(first, second);
  }

  summary(): JudgeSummary {
    return { ...this.#summary, agreement: this.#repeated.figures() };
  }
}
