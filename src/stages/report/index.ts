// SPDX-License-Identifier: Apache-2.0
// NDJSON files of any stage -> one HTML page.
import { basename } from 'node:path';
import { UsageError } from '../../records/error.ts';
import { ReportCollector } from './collect.ts';
import { reportPage } from './page.ts';
import { makeThumbnails } from './thumbnails.ts';

/** A file's rows as parsed JSON objects. */
export interface ReportInput {
  file: string;
  rows: AsyncIterable<Record<string, unknown>>;
}

export interface ReportOptions {
  title: string;
  /** Pairs listed at most. */
  maxPairs: number;
  /** Pictures included at most. */
  maxImages: number;
}

/** The page, and how many rows were of no known kind. Throws UsageError when there is nothing to show. */
export async function makeReport(
  inputs: readonly ReportInput[],
  options: ReportOptions,
): Promise<{ html: string; numUnknown: number }> {
  const collector = new ReportCollector({ maxPairs: options.maxPairs });
  let numUnknown = 0;
  let numKnown = 0;
  for (const { file, rows } of inputs) {
    const run = runName(file);
    for await (const row of rows) {
      if (collector.add(run, row)) numKnown += 1;
      else numUnknown += 1;
    }
  }
  if (numKnown === 0) throw new UsageError('expected records, metric rows or score rows, got none');
  const data = collector.finish(options.title);
  return { html: await reportPage(data, await makeThumbnails(data.images, options.maxImages)), numUnknown };
}

/** "runs/seva.metrics.ndjson" -> "seva.metrics" */
function runName(file: string): string {
  return file === '-' ? 'stdin' : basename(file).replace(/\.(nd)?jsonl?$/, '');
}
