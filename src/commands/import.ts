// SPDX-License-Identifier: Apache-2.0
import { Args } from '@oclif/core';
import { openNamedFiles } from '../cli/dataset-info.ts';
import { importFlags, importOptions, noteCounts } from '../cli/import-options.ts';
import { warnNoQuirk } from '../cli/preset.ts';
import { RecordCommand } from '../cli/record-command.ts';
import { importFiles, importFormats, newImportCounts } from '../stages/import/index.ts';

const FORMATS = Object.keys(importFormats);
const FORMAT_LINES = Object.entries(importFormats).map(([name, { summary }]) => `  ${name.padEnd(15)}${summary}`);

export default class Import extends RecordCommand {
  static override summary = "turn other tools' files into prompt records";
  static override description = `Formats:
${FORMAT_LINES.join('\n')}

Files are JSON arrays, JSON lines, Parquet or Arrow, recognised by their first
bytes, gzipped or not, or folders saved by the datasets library. Items are
streamed. For llama-factory, FILE may be dataset_info.json#NAME: the file,
columns and tags of that entry. The source of an item is the first folder of its image path, or the format's name.

--faithful reproduces quirks of SeVa's published code, which are fixed
otherwise:\n  questions   of ocr_vqa and gqa lose their line breaks (gluing words);
              of textvqa keep an image mark at the end
  --limit     counts dialogues, not questions`;
  static override usage = 'import FORMAT [FILE...]';
  static override examples = [
    '<%= config.bin %> import llava mix665k.json --source textvqa,ocr_vqa --turns 2 --limit textvqa=8000 --limit ocr_vqa=8000 --image-root data',
    '<%= config.bin %> import lrv lrv.json --image-root vg --check-images --on-error skip',
  ];
  static override args = {
    format: Args.string({ required: true, ignoreStdin: true, options: FORMATS, description: 'format of FILE...' }),
  };
  static override flags = importFlags;

  async run(): Promise<void> {
    await this.runSource(Import, (run) => {
      const { args, flags, files, stop } = run;
      const counts = newImportCounts();
      if (!flags['check-images']) run.noteUnused({ threads: 'items are read by one thread' });
      const options = importOptions(args.format, flags);
      const { turns, limits } = options.selection;
      if (flags.faithful && (turns === undefined || (options.cleaning !== 'seva-faithful' && limits.length === 0)))
        warnNoQuirk(run, 'an import without cleaning (--turns) and without --limit');
      run.atEnd(() => noteCounts(counts, options, run));
      const rereads = options.selection.limits.length > 0;
      return importFiles(openNamedFiles(args.format, files, stop, { rereads, counts: run.counts }), options, counts);
    });
  }
}
