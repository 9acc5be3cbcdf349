// SPDX-License-Identifier: Apache-2.0
// What a benchmark is. To add one: a folder with an index.ts that exports a Benchmark, and a line in index.ts here.
import type { ImportFormat } from '../stages/import/format.ts';
import type { DrawnFigure, PublishedRow } from './published.ts';
import type { Scorer } from './scoring/score-row.ts';

export interface Benchmark {
  /** As `import` and `eval` know it. */
  name: string;
  /** For METHODS.md: whose it is, and what is counted. */
  paper?: string;
  scored: string;
  /** Its question files -> records; absent where there are none of its own. */
  import?: ImportFormat;
  /** Its answers and labels -> rows. */
  score: Scorer;
  /** What papers print, to stand beside one's own rows. */
  published?: readonly PublishedRow[];
  /** What papers draw without numbers. */
  drawn?: readonly DrawnFigure[];
}
