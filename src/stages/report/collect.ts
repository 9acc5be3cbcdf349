// SPDX-License-Identifier: Apache-2.0
// Gathers the report's data from NDJSON rows of any kind: metric rows of train, score rows of eval, records of every stage.
import type { VprefRecord } from '../../records/record.ts';
import { byCharts } from './by.ts';
import { ClaimSection } from './claims.ts';
import { CurveSection } from './curves.ts';
import type { JsonObject, ReportData } from './data.ts';
import { FileSection } from './files.ts';
import { ImageList } from './images.ts';
import { JudgeSection } from './judges.ts';
import { PairSection } from './pairs.ts';
import { RunSection } from './runs.ts';
import { SampleSection } from './samples.ts';
import { ScoreSection } from './scores.ts';
import { StageSection } from './stages.ts';

/** Gathers rows; `finish` gives the page's data. */
export class ReportCollector {
  readonly #curves = new CurveSection();
  readonly #runs = new RunSection();
  readonly #scores = new ScoreSection();
  readonly #stages = new StageSection();
  readonly #files = new FileSection();
  readonly #judges = new JudgeSection();
  readonly #images = new ImageList();
  readonly #samples = new SampleSection(this.#images);
  readonly #pairs: PairSection;
  readonly #claims: ClaimSection;

  constructor({ maxPairs }: { maxPairs: number }) {
    this.#pairs = new PairSection(maxPairs, this.#images);
    this.#claims = new ClaimSection(maxPairs, this.#images);
  }

  /** Takes a row of a file's run. Returns false for an unknown kind of row. */
  add(run: string, row: JsonObject): boolean {
    // A summary of train is in both tables.
    const isRun = this.#runs.take(run, row);
    if ([this.#curves, this.#samples, this.#scores, this.#stages].some((section) => section.take(run, row)) || isRun)
      return true;
    if (typeof row.id !== 'string' || !('prompt' in row)) return false;
    for (const section of [this.#files, this.#judges, this.#pairs, this.#claims]) section.take(run, row as VprefRecord);
    return true;
  }

  /** Throws UsageError for a `by` parameter that no score row has. */
  finish(title: string, by: readonly string[] = []): { data: ReportData; notes: string[] } {
    const { judges, judgePairs } = this.#judges.data();
    const charts = by.map((param) => byCharts(param, this.#scores.all));
    const samples = this.#samples.data();
    const data = {
      title,
      runs: this.#runs.table(this.#curves.trainings(), this.#scores.all),
      curves: this.#curves.data(),
      byCharts: charts.flatMap((one) => one.charts),
      scores: this.#scores.data(),
      samples,
      pairs: this.#pairs.data(),
      checked: this.#claims.data(),
      images: this.#images.all(),
      files: this.#files.data(),
      ...{ judges, judgePairs },
      stages: this.#stages.data(),
      leftOut: {
        curves: this.#curves.numLeftOut,
        scores: this.#scores.numLeftOut,
        samples: this.#samples.numLeftOut,
        pairs: this.#pairs.numLeftOut,
        checked: this.#claims.numLeftOut,
      },
    };
    return { data, notes: [...this.#curves.notes(), ...charts.flatMap((one) => one.notes)] };
  }
}
