// SPDX-License-Identifier: Apache-2.0
// Files: the number of records in each, by kind.
import type { VprefRecord } from '../../records/record.ts';
import type { FileCounts, RecordSection } from './data.ts';
import { isPair } from './pair-record.ts';

export class FileSection implements RecordSection<FileCounts[]> {
  readonly #files = new Map<string, FileCounts>();

  take(run: string, record: VprefRecord): void {
    const counts = this.#countsOf(run);
    counts.rows += 1;
    if (record.error !== undefined) {
      const reason = `${record.error.stage}: ${record.error.code}`;
      counts.failed[reason] = (counts.failed[reason] ?? 0) + 1;
    }
    if (record.views !== undefined) counts.withViews += 1;
    if (record.responses !== undefined) counts.withResponses += 1;
    if (record.ref_chosen_logps !== undefined || record.ref_response_logps !== undefined) counts.withReference += 1;
    if (record.annotations?.some(({ outcome }) => outcome === 'ok')) counts.annotated += 1;
    if (isPair(record)) counts.pairs += 1;
  }

  data(): FileCounts[] {
    return [...this.#files.values()];
  }

  #countsOf(run: string): FileCounts {
    let counts = this.#files.get(run);
    if (counts === undefined) {
      counts = { run, rows: 0, withViews: 0, withResponses: 0, annotated: 0, pairs: 0, withReference: 0, failed: {} };
      this.#files.set(run, counts);
    }
    return counts;
  }
}
