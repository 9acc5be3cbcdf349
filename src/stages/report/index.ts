// SPDX-License-Identifier: Apache-2.0
// NDJSON files of any stage -> one HTML page.
import { count } from '../../records/count.ts';
import { UsageError } from '../../records/error.ts';
import { ReportCollector } from './collect.ts';
import { type NamedFile, runNames } from './names.ts';
import { reportPage } from './page.ts';
import { makeThumbnails } from './thumbnails.ts';

/** A file's rows as parsed JSON objects. */
export interface ReportInput extends NamedFile {
  rows: AsyncIterable<Record<string, unknown>>;
}

export interface ReportOptions {
  title: string;
  /** Parameters to chart scores against. */
  by: readonly string[];
  /** Maximum pairs listed. */
  maxPairs: number;
  /** Maximum images included. */
  maxImages: number;
}

/** The page and notes for the user. Throws UsageError if there is nothing to show. */
export async function makeReport(
  inputs: readonly ReportInput[],
  options: ReportOptions,
): Promise<{ html: string; notes: string[] }> {
  const collector = new ReportCollector({ maxPairs: options.maxPairs });
  let numUnknown = 0;
  let numKnown = 0;
  const names = runNames(inputs);
  for (const [index, { rows }] of inputs.entries()) {
    for await (const row of rows) {
      if (collector.add(names[index]!, row)) numKnown += 1;
      else numUnknown += 1;
    }
  }
  if (numKnown === 0) throw new UsageError('expected records, metric rows or score rows, got none');
  const { data, notes } = collector.finish(options.title, options.by);
  if (numUnknown > 0) notes.unshift(`${count(numUnknown, 'row')} skipped: not a record, metric or score row`);
  return { html: await reportPage(data, await makeThumbnails(data.images, options.maxImages)), notes };
}
