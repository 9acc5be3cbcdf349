// SPDX-License-Identifier: Apache-2.0
import { existsSync } from 'node:fs';
import { Flags } from '@oclif/core';
import { integerFlag, outputFlags } from '../cli/flags.ts';
import { checkFiles, readBytes } from '../cli/input.ts';
import { RecordCommand } from '../cli/record-command.ts';
import { UsageError } from '../records/error.ts';
import { isObject } from '../records/field.ts';
import { readLines } from '../records/lines.ts';
import { makeReport, type ReportInput } from '../stages/report/index.ts';
import type { NamedFile } from '../stages/report/names.ts';

export default class Report extends RecordCommand {
  static override summary = 'make one self-contained HTML page from pairs, metrics and scores';
  static override description =
    'Reads any mix of files. Metrics and summaries of train become a table of runs and curves; scores of eval become tables with intervals; records become counts, judge statistics and a pair browser.';
  static override usage = 'report [NAME=]FILE... [--by PARAM] [-o FILE]';
  static override examples = [
    '<%= config.bin %> report pairs.ndjson seva.metrics.ndjson scores.ndjson -o report.html',
    '<%= config.bin %> report runs/a.metrics.ndjson runs/a.summary.ndjson runs/b.metrics.ndjson runs/b.summary.ndjson -o runs.html',
    '<%= config.bin %> report --by step rows.ndjson before.scores.ndjson -o steps.html',
    '<%= config.bin %> report --title "SeVa, step 800" before.scores.ndjson after.scores.ndjson > scores.html',
  ];
  static override inapplicable = {
    requeue: 'it takes seconds; rerun it',
    summary: 'its page is the summary',
    resume: 'it takes seconds; rerun it',
    shard: 'a page needs all rows',
    limit: 'see --max-pairs and --max-images',
    'on-error': 'failed records are shown as failed; a line that is not a JSON object is an error',
    seed: 'nothing is random',
    threads: 'it uses one thread',
  };
  static override flags = {
    title: Flags.string({ default: 'vpref report', helpValue: 'TEXT', summary: 'title of the page' }),
    by: Flags.string({
      multiple: true,
      helpValue: 'PARAM',
      summary: 'plot the scores against this key of `params` in the score rows; may be repeated',
    }),
    'max-pairs': integerFlag({ min: 0, default: 10000, helpValue: 'N', summary: 'maximum pairs in the pair browser' }),
    'max-images': integerFlag({ min: 0, default: 500, helpValue: 'N', summary: 'maximum images included in the page' }),
    ...outputFlags,
  };

  async run(): Promise<void> {
    await this.runTable(Report, async function* (run) {
      const { flags, files, stop } = run;
      if (files.length === 0 && process.stdin.isTTY) throw new UsageError('expected FILE... or rows on stdin');
      const named = (files.length === 0 ? ['-'] : files).map(namedFile);
      checkFiles(named.map(({ file }) => file));
      const inputs = named.map((one): ReportInput => ({ ...one, rows: objects(one.file, stop) }));
      const options = {
        title: flags.title,
        by: flags.by ?? [],
        maxPairs: flags['max-pairs'],
        maxImages: flags['max-images'],
      };
      const { html, notes } = await makeReport(inputs, options);
      for (const note of notes) run.warn(note);
      yield html;
    });
  }
}

/** FILE, or NAME=FILE. */
function namedFile(text: string): NamedFile {
  const [, name, file] = /^([^=/]+)=(.+)$/s.exec(text) ?? [];
  return file === undefined || existsSync(text) ? { file: text } : { name: name!, file };
}

/** The objects of an NDJSON file; any other line is an error. */
async function* objects(file: string, stop: AbortSignal): AsyncGenerator<Record<string, unknown>> {
  const source = file === '-' ? 'stdin' : file;
  for await (const lines of readLines(readBytes(file, stop), source)) {
    for (const { line, value, error } of lines) {
      if (error !== undefined) throw error;
      if (!isObject(value))
        throw new UsageError(`${source}:${line}: expected a JSON object, got ${JSON.stringify(value)}`);
      yield value as Record<string, unknown>;
    }
  }
}
