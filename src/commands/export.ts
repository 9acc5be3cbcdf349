// SPDX-License-Identifier: Apache-2.0
import { closeSync, existsSync, fsyncSync, openSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { basename, extname } from 'node:path';
import { Args, Flags, type Interfaces } from '@oclif/core';
import { recordFlags } from '../cli/flags.ts';
import { RecordCommand } from '../cli/record-command.ts';
import type { RunContext } from '../cli/run-context.ts';
import { UsageError } from '../records/error.ts';
import { isObject } from '../records/field.ts';
import { imagePaths } from '../stages/export/image-path.ts';
import { exportFormats, exportLines, newExportCounts } from '../stages/export/index.ts';
import { datasetEntry } from '../stages/export/llama-factory.ts';

const FORMATS = [...Object.keys(exportFormats), 'parquet', 'merge'];
const FORMAT_LINES = [
  ...Object.entries(exportFormats).map(([name, { summary }]) => `  ${name.padEnd(15)}${summary}`),
  `  ${'parquet'.padEnd(15)}our own rows with the images' bytes, for import records and the datasets library (needs -o)`,
  `  ${'merge'.padEnd(15)}a checkpoint directory with adapters merged into the weights (no records)`,
];

/** Flags that export merge has; all others are about records. */
const MERGE_FLAGS = ['output', 'progress', 'quiet', 'model', 'adapter', 'dtype'];

export default class Export extends RecordCommand {
  static override summary = "write preference data in other trainers' formats";
  static override description = `Formats:
${FORMAT_LINES.join('\n')}

Records are pairs (chosen, rejected) or single answers (response, label). A
record with K rejected answers gives K rows. All rows of a file have the same
columns. Records that failed in an earlier stage are left out and counted.

--resume makes the rows of FILE.partial again, holds them against those that
are there, and goes on after them.`;
  static override usage = 'export FORMAT [FILE...]';
  static override examples = [
    '<%= config.bin %> export trl pairs.ndjson -o trl.jsonl',
    '<%= config.bin %> export llama-factory pairs.ndjson -o data/pairs.jsonl --dataset-info data/dataset_info.json',
    '<%= config.bin %> export merge --model llava --adapter runs/seva -o llava-seva',
    '<%= config.bin %> export llava answers.ndjson --image-root data -o answers.json',
  ];
  static override args = {
    format: Args.string({ required: true, ignoreStdin: true, options: FORMATS, description: 'the format to write' }),
  };
  static override flags = {
    ...recordFlags,
    'on-error': Flags.option({ options: ['fail', 'skip', 'keep'] as const })({
      default: 'fail',
      summary:
        'a record that the format has no form for: stop, leave it out, or also write it with its error to FILE.errors.ndjson',
    }),
    model: Flags.string({ helpValue: 'DIR', summary: 'merge: the base model' }),
    adapter: Flags.string({
      multiple: true,
      multipleNonGreedy: true,
      helpValue: 'DIR',
      summary: 'merge: adapter to merge into it; may be repeated',
    }),
    dtype: Flags.option({ options: ['f16', 'f32'] as const })({
      default: 'f16',
      summary: 'merge: what the weights are written as; bf16 would lose most of a small delta',
    }),
    'image-root': Flags.string({
      helpValue: 'DIR',
      summary: 'write image paths relative to DIR, the folder the reader is given',
    }),
    'image-dir': Flags.string({ helpValue: 'DIR', summary: 'write images that are data: URIs as files in DIR' }),
    layout: Flags.option({ options: ['auto', 'vision', 'text'] as const })({
      default: 'auto',
      summary: 'trl: with an image column, or without and with plain texts; auto: as the first row needs',
    }),
    'dataset-info': Flags.string({
      helpValue: 'FILE',
      summary: 'llama-factory: add the entry for -o FILE to this dataset_info.json',
    }),
    'dataset-name': Flags.string({
      helpValue: 'NAME',
      summary: 'llama-factory: name of the entry; the file name without its end unless given',
    }),
  };

  async run(): Promise<void> {
    // The output of merge is a directory, and Parquet is no lines: both are made elsewhere.
    const toStdout = ['merge', 'parquet'].includes(this.argv.find((word) => !word.startsWith('-')) ?? '');
    const make = (run: ExportRun) => {
      const { args, flags } = run;
      if (args.format === 'merge') return merge(run);
      for (const name of ['model', 'adapter', 'dtype'])
        if (run.given.has(name)) throw new UsageError(`--${name}: is for export merge, got format ${args.format}`);
      if (args.format === 'parquet') return parquet(run);
      run.noteIdle({ seed: 'nothing is drawn at random here', threads: 'rows are written by one thread' });
      const counts = newExportCounts();
      const addEntry = datasetInfo(args.format, flags);
      if (args.format !== 'trl' && flags.layout !== 'auto')
        throw new UsageError(`--layout: expected format trl, got ${args.format}`);
      const paths = { root: flags['image-root'], directory: flags['image-dir'] };
      const given = Object.fromEntries(Object.entries(paths).filter(([, value]) => value !== undefined));
      const isText = flags.layout === 'auto' ? {} : { isText: flags.layout === 'text' };
      run.atEnd(() => {
        if (counts.first !== undefined) addEntry?.(counts.first);
        const leftOut = [...counts.leftOut].map(([what, count]) => `${what} (${count})`).join(', ');
        if (leftOut !== '') run.note(`${args.format} has no place for: ${leftOut}`);
      });
      return exportLines(
        run.records(),
        { format: args.format, imagePath: imagePaths(given), ...isText },
        counts,
        (error, row) => run.failed(error, row.record),
      );
    };
    await this.runTable(Export, make, toStdout ? { toStdout } : { resumable: true, keepsFailed: true });
  }
}

type ExportRun = RunContext<Interfaces.InferredFlags<typeof Export.flags>, Interfaces.InferredArgs<typeof Export.args>>;

/** Writes a whole checkpoint with the adapters merged into it; no rows come out. */
async function* merge(run: ExportRun): AsyncGenerator<object> {
  const { model, adapter, dtype, output: dir } = run.flags;
  for (const name of run.given)
    if (!MERGE_FLAGS.includes(name)) throw new UsageError(`--${name}: expected a format of records, got export merge`);
  if (model === undefined) throw new UsageError('--model: expected the directory of the base model, got nothing');
  if (adapter === undefined) throw new UsageError('--adapter: expected the directory of an adapter, got nothing');
  if (dir === undefined) throw new UsageError('-o: expected a directory for the merged checkpoint, got nothing');
  await run.holdFolder(dir, { isNew: true });
  if (existsSync(dir)) throw new UsageError(`-o ${dir}: expected a directory that is not there yet, got one that is`);
  const [{ loadPolicy }, { mergeInto }, { checkFolders }] = await Promise.all([
    import('../engine/policy.ts'),
    import('../engine/merge.ts'),
    import('../model/load.ts'),
  ]);
  await checkFolders(model, adapter);
  const { ensureEngine } = await import('../cli/engine.ts');
  await ensureEngine(run, { device: 'cpu', model });
  const policy = await loadPolicy({ model, adapters: adapter, device: 'cpu', dtype: 'f32', tokenBytes: [] });
  for (const note of policy.info.notes) run.note(note);
  const partial = `${dir}.partial`;
  rmSync(partial, { recursive: true, force: true });
  const { numMerged, relativeError } = await mergeInto(policy, model, partial, dtype).catch((cause: unknown) => {
    rmSync(partial, { recursive: true, force: true });
    throw cause;
  });
  await policy.close();
  renameSync(partial, dir);
  const lost =
    dtype === 'f32' ? 'exact to f32 rounding' : `rounding loses ${(100 * relativeError).toPrecision(2)} % of the delta`;
  run.note(`${numMerged} linear layers merged into ${dir} (${dtype}: ${lost})`);
  yield* [];
}

/** Flags of other formats. */
const NOT_FOR_PARQUET = ['image-root', 'image-dir', 'layout', 'dataset-info', 'dataset-name', 'resume'];

/** Writes the records to a Parquet file, which appears when it is whole; no rows come out. */
async function* parquet(run: ExportRun): AsyncGenerator<object> {
  const { output } = run.flags;
  for (const name of NOT_FOR_PARQUET)
    if (run.given.has(name)) throw new UsageError(`--${name}: expected another format, got export parquet`);
  if (run.flags['on-error'] === 'keep') throw new UsageError('--on-error: expected fail or skip, got keep');
  if (output === undefined) throw new UsageError('-o: expected a file for the Parquet rows, got nothing');
  const { writeParquet } = await import('../stages/export/parquet.ts');
  const partial = `${output}.partial`;
  const numRows = await writeParquet(run.records(), partial, (error, row) => run.failed(error, row.record));
  if (run.stop.aborted) {
    rmSync(partial, { force: true });
    return;
  }
  const file = openSync(partial, 'r+');
  fsyncSync(file);
  closeSync(file);
  renameSync(partial, output);
  run.note(`${numRows} rows written to ${output}`);
  yield* [];
}

/** What adds the entry of the written file to dataset_info.json. Throws UsageError before anything is written. */
function datasetInfo(
  format: string,
  flags: { output?: string | undefined; 'dataset-info'?: string | undefined; 'dataset-name'?: string | undefined },
) {
  const { output, 'dataset-info': path, 'dataset-name': name } = flags;
  if (path === undefined) {
    if (name !== undefined) throw new UsageError('--dataset-name: expected --dataset-info beside it');
    return undefined;
  }
  if (format !== 'llama-factory') throw new UsageError(`--dataset-info: expected format llama-factory, got ${format}`);
  if (output === undefined) throw new UsageError('--dataset-info: expected -o FILE, which the entry names');
  const entries = readEntries(path);
  return (row: Record<string, unknown>) => {
    const file = basename(output);
    const whole = { ...entries, [name ?? file.slice(0, file.length - extname(file).length)]: datasetEntry(file, row) };
    writeFileSync(`${path}.partial`, `${JSON.stringify(whole, null, 2)}\n`);
    renameSync(`${path}.partial`, path);
  };
}

function readEntries(path: string): Record<string, unknown> {
  if (!existsSync(path)) return {};
  let entries: unknown;
  try {
    entries = JSON.parse(readFileSync(path, 'utf8'));
  } catch {}
  if (!isObject(entries))
    throw new UsageError(`--dataset-info ${path}: expected a JSON object of entries, got something else`);
  return entries;
}
