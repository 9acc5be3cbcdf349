// SPDX-License-Identifier: Apache-2.0

import { integerFlag, recordFlags } from '../cli/flags.ts';
import { checkFiles, isWholeInput, readRows } from '../cli/input.ts';
import { newCounts } from '../cli/progress.ts';
import { RecordCommand } from '../cli/record-command.ts';
import type { RowResult } from '../flow/stage.ts';
import { count } from '../records/count.ts';
import { UsageError } from '../records/error.ts';
import { type MixFile, mix, mixShares } from '../stages/mix.ts';

export default class Mix extends RecordCommand {
  static override summary = 'mix rows of several files in given proportions';
  static override description = `Draws rows from each file without replacement, in proportion to the weights, and writes
them interleaved at random. Rows of one file keep their order. Without --limit it takes the most rows that
the weights allow before a file is used up. The same seed, weights and files give the same rows on any machine.`;
  static override usage = 'mix FILE:WEIGHT...';
  static override examples = [
    '<%= config.bin %> mix seva.ndjson:3 judged.ndjson:1 -o mixed.ndjson',
    '<%= config.bin %> mix pairs.ndjson:0.7 text-only.ndjson:0.3 --limit 16000 --seed 1 | <%= config.bin %> precompute-ref --model llava -o mixed.ref.ndjson',
  ];
  static override flags = {
    ...recordFlags,
    limit: integerFlag({
      min: 1,
      helpValue: 'N',
      summary: 'total number of rows; a file with fewer rows than its share is an error',
    }),
  };

  async run(): Promise<void> {
    await this.runSource(Mix, async (run) => {
      const { files, flags, stop, counts } = run;
      run.noteUnused({ threads: 'rows are read by one thread' });
      const weighted = files.map(splitWeight);
      if (weighted.length < 2) throw new UsageError(`expected two or more of FILE:WEIGHT, got ${files.length}`);
      run.addSettings({ files: weighted, limit: flags.limit ?? null });
      const paths = weighted.map(({ path }) => path);
      checkFiles(paths);
      // Two passes: rows are counted before the first draw.
      if (!isWholeInput(paths)) throw new UsageError('expected regular files, because they are read twice');
      const opened: MixFile[] = [];
      for (const { path, weight } of weighted) {
        const numRows = await countRows(path, stop);
        opened.push({ source: path, weight, numRows, rows: () => rowsOf(path, stop) });
      }
      if (stop.aborted) return none();
      const shares = mixShares(opened, flags.limit);
      const total = shares.reduce((sum, share) => sum + share, 0);
      counts.rowsTotal = () => total;
      const taken = opened.map(
        ({ source, numRows }, index) => `${shares[index]} of ${count(numRows, 'row')} of ${source}`,
      );
      run.note(`${taken.join(', ')}`);
      if (total === 0) run.warn('no row: a file is empty, or too small for its weight');
      return mix(opened, shares, flags.seed);
    });
  }
}

/** "FILE:WEIGHT"; the file name may contain colons. */
function splitWeight(text: string): { path: string; weight: number } {
  const colon = text.lastIndexOf(':');
  const weight = Number(text.slice(colon + 1));
  const path = text.slice(0, colon);
  if (colon < 1 || text.slice(colon + 1).trim() === '' || !(weight > 0 && weight < 1e9))
    throw new UsageError(`expected FILE:WEIGHT with a positive weight, got ${JSON.stringify(text)}`);
  if (path === '-') throw new UsageError('-: expected a file, because it is read twice');
  return { path, weight };
}

async function countRows(path: string, stop: AbortSignal): Promise<number> {
  let count = 0;
  for await (const batch of readRows({ files: [path], stop, counts: newCounts() })) for (const _ of batch) count += 1;
  return count;
}

async function* rowsOf(path: string, stop: AbortSignal) {
  for await (const batch of readRows({ files: [path], stop, counts: newCounts() })) yield* batch;
}

async function* none(): AsyncGenerator<RowResult> {}
