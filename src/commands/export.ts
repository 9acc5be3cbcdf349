// SPDX-License-Identifier: Apache-2.0
import { Args } from '@oclif/core';
import { exportFlags, exportRows } from '../cli/export-options.ts';
import { RecordCommand } from '../cli/record-command.ts';
import { exportFormats } from '../stages/export/index.ts';

const FORMATS = [...Object.keys(exportFormats), 'parquet', 'merge'];
const FORMAT_LINES = [
  ...Object.entries(exportFormats).map(([name, { summary }]) => `  ${name.padEnd(15)}${summary}`),
  `  ${'parquet'.padEnd(15)}vpref records with the images' bytes, for import records and the datasets library (needs -o)`,
  `  ${'merge'.padEnd(15)}a checkpoint directory with adapters merged into the weights (reads no records)`,
];

export default class Export extends RecordCommand {
  static override summary = "write preference data in other trainers' formats";
  static override description = `Formats:
${FORMAT_LINES.join('\n')}

Records are pairs (chosen, rejected) or single responses (response, label). A
record with K rejected responses gives K rows. All rows of a file have the same
columns. Records that failed in an earlier stage are dropped and counted.

--resume computes the rows of FILE.partial again, compares them with those
in the file, and continues after them.`;
  static override usage = 'export FORMAT [FILE...]';
  static override examples = [
    '<%= config.bin %> export trl pairs.ndjson -o trl.jsonl',
    '<%= config.bin %> export llama-factory pairs.ndjson -o data/pairs.jsonl --dataset-info data/dataset_info.json',
    '<%= config.bin %> export merge --model llava --adapter runs/seva -o llava-seva',
    '<%= config.bin %> export llava answers.ndjson --image-root data -o answers.json',
  ];
  static override args = {
    format: Args.string({ required: true, ignoreStdin: true, options: FORMATS, description: 'format to write' }),
  };
  static override flags = exportFlags;

  async run(): Promise<void> {
    // merge writes a directory, and parquet a binary file: both write -o themselves.
    const toStdout = ['merge', 'parquet'].includes(this.argv.find((word) => !word.startsWith('-')) ?? '');
    await this.runTable(Export, exportRows, toStdout ? { toStdout } : { resumable: true, keepsFailed: true });
  }
}
