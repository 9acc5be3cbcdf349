// SPDX-License-Identifier: Apache-2.0
// The interface of a benchmark. To add one: a folder with an index.ts that exports a Benchmark, and a line in index.ts here.
import type { ImportFormat } from '../stages/import/format.ts';
import type { DrawnFigure, PublishedRow } from './published.ts';
import type { Scorer } from './scoring/score-row.ts';

export interface Benchmark {
  /** Its name in `import` and `eval`. */
  name: string;
  /** For METHODS.md: its paper, and what is scored. */
  paper?: string;
  scored: string;
  /** Question files -> records; absent without question files. */
  import?: ImportFormat;
  /** Answers and labels -> score rows. */
  score: Scorer;
  /** Figures printed in papers, to compare with. */
  published?: readonly PublishedRow[];
  /** Figures that papers only plot. */
  drawn?: readonly DrawnFigure[];
}
