// SPDX-License-Identifier: Apache-2.0
// What a report shows, gathered from NDJSON rows of any kind: metric rows of train, score rows of eval, records of every stage.
import type { VprefRecord } from '../../records/record.ts';
import { CurveSection } from './curves.ts';
import type { JsonObject, ReportData, RowSection, ScoreLine } from './data.ts';
import { FileSection } from './files.ts';
import { JudgeSection } from './judges.ts';
import { PairSection } from './pairs.ts';
import { StageSection } from './stages.ts';

/** Gathers rows; `finish` gives the page's data. */
export class ReportCollector {
  readonly #curves = new CurveSection();
  readonly #scores = new ScoreSection();
  readonly #stages = new StageSection();
  readonly #files = new FileSection();
  readonly #judges = new JudgeSection();
  readonly #pairs: PairSection;

  constructor({ maxPairs }: { maxPairs: number }) {
    this.#pairs = new PairSection(maxPairs);
  }

  /** Takes a row of the file `run`; returns false when it is nothing that a report knows. */
  add(run: string, row: JsonObject): boolean {
    if ([this.#curves, this.#scores, this.#stages].some((section) => section.take(run, row))) return true;
    if (typeof row.id !== 'string' || !('prompt' in row)) return false;
    for (const section of [this.#files, this.#judges, this.#pairs]) section.take(run, row as VprefRecord);
    return true;
  }

  finish(title: string): ReportData {
    const { pairs, images, numPairsLeftOut } = this.#pairs.data();
    const { judges, judgePairs } = this.#judges.data();
    return {
      title,
      curves: this.#curves.data(),
      scores: this.#scores.data(),
      ...{ pairs, images },
      files: this.#files.data(),
      ...{ judges, judgePairs },
      stages: this.#stages.data(),
      numPairsLeftOut,
    };
  }
}

/** Score rows of eval, as they are. */
class ScoreSection implements RowSection<ScoreLine[]> {
  readonly #scores: ScoreLine[] = [];

  take(run: string, row: JsonObject): boolean {
    if (typeof row.benchmark !== 'string' || !('split' in row)) return false;
    this.#scores.push({ ...row, run, benchmark: row.benchmark, split: String(row.split) });
    return true;
  }

  data(): ScoreLine[] {
    return this.#scores;
  }
}
