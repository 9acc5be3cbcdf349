// SPDX-License-Identifier: Apache-2.0
// The flags of export, and their use by each format.

import { closeSync, existsSync, fsyncSync, openSync, renameSync, rmSync } from 'node:fs';
import { Flags, type Interfaces } from '@oclif/core';
import type { MergeResult } from '../engine/native.ts';
import type { BaseForm } from '../engine/requests.ts';
import { count } from '../records/count.ts';
import { UsageError } from '../records/error.ts';
import { datasetInfo } from '../stages/export/dataset-info.ts';
import { imagePaths } from '../stages/export/image-path.ts';
import { exportLines, newExportCounts } from '../stages/export/index.ts';
import { recordFlags } from './flags.ts';
import type { RunContext } from './run-context.ts';

/** Flags that export merge has; all others are about records. */
const MERGE_FLAGS = ['output', 'progress', 'quiet', 'model', 'adapter', 'dtype', 'onto'];

export const exportFlags = {
  ...recordFlags,
  'on-error': Flags.option({ options: ['fail', 'skip', 'keep'] as const })({
    default: 'fail',
    summary: 'on a record that the format cannot hold: stop, drop it, or write it with its error to FILE.errors.ndjson',
  }),
  model: Flags.string({ helpValue: 'DIR', summary: 'merge: directory of the base model' }),
  adapter: Flags.string({
    multiple: true,
    multipleNonGreedy: true,
    helpValue: 'DIR',
    summary: 'merge: adapter to merge into the base model; may be repeated',
  }),
  dtype: Flags.option({ options: ['f16', 'f32'] as const })({
    default: 'f16',
    summary: 'merge: data type of the weights written; bf16 is not offered, it would lose most of a small delta',
  }),
  onto: Flags.option({ options: ['full', 'quantised'] as const })({
    default: 'full',
    summary:
      'merge: base for an adapter trained with --quantize: the weights as stored, or the dequantised weights it was trained on',
  }),
  'image-root': Flags.string({
    helpValue: 'DIR',
    summary: 'write image paths relative to DIR, the image folder of the reading tool',
  }),
  'image-dir': Flags.string({ helpValue: 'DIR', summary: 'write data: URI images as files in DIR' }),
  layout: Flags.option({ options: ['auto', 'vision', 'text'] as const })({
    default: 'auto',
    summary: 'trl: rows with an image column, or plain text rows; auto: as the first row needs',
  }),
  'dataset-info': Flags.string({
    helpValue: 'FILE',
    summary: 'llama-factory: add an entry for -o FILE to this dataset_info.json',
  }),
  'dataset-name': Flags.string({
    helpValue: 'NAME',
    summary: 'llama-factory: name of the entry; default: the file name without its extension',
  }),
};

export type ExportRun = RunContext<Interfaces.InferredFlags<typeof exportFlags>, { format: string }>;

/** The rows of the format; no rows if the format writes -o itself. Throws UsageError for flags of another format. */
export function exportRows(run: ExportRun): AsyncGenerator<object | string> {
  const { args, flags } = run;
  if (args.format === 'merge') return merge(run);
  for (const name of ['model', 'adapter', 'dtype', 'onto'])
    if (run.given.has(name)) throw new UsageError(`--${name}: expected export merge, got format ${args.format}`);
  if (args.format === 'parquet') return parquet(run);
  run.noteUnused({ seed: 'nothing is random here', threads: 'rows are written by one thread' });
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
    if (leftOut !== '') run.note(`${args.format} cannot hold: ${leftOut}`);
  });
  return exportLines(
    run.records(),
    { format: args.format, imagePath: imagePaths(given), ...isText },
    counts,
    (error, row) => run.failed(error, row.record),
  );
}

/** Writes a complete checkpoint with the adapters merged; yields no rows. */
async function* merge(run: ExportRun): AsyncGenerator<object> {
  const { model, adapter, dtype, onto, output: dir } = run.flags;
  for (const name of run.given)
    if (!MERGE_FLAGS.includes(name)) throw new UsageError(`--${name}: expected a format of records, got export merge`);
  if (model === undefined) throw new UsageError('--model: expected the directory of the base model, got nothing');
  if (adapter === undefined) throw new UsageError('--adapter: expected the directory of an adapter, got nothing');
  if (dir === undefined) throw new UsageError('-o: expected a directory for the merged checkpoint, got nothing');
  await run.holdFolder(dir, { isNew: true });
  if (existsSync(dir)) throw new UsageError(`-o ${dir}: expected a new directory, got an existing one`);
  const [{ loadPolicy }, { mergeInto, trainedOn }, { checkFolders }] = await Promise.all([
    import('../engine/policy.ts'),
    import('../engine/merge.ts'),
    import('../model/load.ts'),
  ]);
  await checkFolders(model, adapter);
  const form = oneForm(adapter, await Promise.all(adapter.map(trainedOn)));
  if (onto === 'quantised' && form === 'none')
    throw new UsageError(`--onto quantised: expected an adapter trained with --quantize, got ${adapter.join(', ')}`);
  const { ensureEngine } = await import('./engine.ts');
  await ensureEngine(run, { device: 'cpu', model });
  if (onto === 'quantised' && form === 'fp4')
    throw new UsageError(
      `--onto quantised: expected an adapter trained with --quantize, got ${adapter.join(', ')}, trained on an fp4 checkpoint: give that one as --model`,
    );
  const packing = form === 'fp4' ? 'none' : form;
  const quantize = onto === 'quantised' ? packing : 'none';
  const policy = await loadPolicy({ model, adapters: adapter, device: 'cpu', dtype: 'f32', quantize, tokenBytes: [] });
  const { notes, storedForm } = policy.info;
  for (const note of notes) run.note(note);
  const partial = `${dir}.partial`;
  rmSync(partial, { recursive: true, force: true });
  const merged = await mergeInto(policy, model, { dir: partial, dtype, trainedOn: packing }).catch((cause: unknown) => {
    rmSync(partial, { recursive: true, force: true });
    throw cause;
  });
  const { numMerged, numUnpacked } = merged;
  await policy.close();
  renameSync(partial, dir);
  const written = numUnpacked > 0 ? `; the packed weights of ${model} are written dequantised` : '';
  run.note(`${count(numMerged, 'linear layer')} merged into ${dir} (${dtype}: ${lossOf(merged, dtype)}${written})`);
  if (form !== 'none' && storedForm === 'none') run.note(mergedOnto(form, onto, merged));
  yield* [];
}

/** Several adapters add up, so all must have the same base. Throws UsageError. */
function oneForm(adapters: readonly string[], forms: readonly BaseForm[]): BaseForm {
  const packed = forms.filter((form) => form !== 'none');
  if (new Set(packed).size > 1)
    throw new UsageError(
      `--adapter: expected adapters of one --quantize, got ${adapters.map((dir, i) => `${dir} (${forms[i]})`).join(', ')}`,
    );
  return packed[0] ?? 'none';
}

function lossOf({ numMerged, hasDelta, relativeError }: MergeResult, dtype: 'f32' | 'f16'): string {
  if (numMerged > 0 && !hasDelta) return 'their delta is zero';
  return dtype === 'f32'
    ? 'exact to f32 rounding'
    : `rounding loses ${(100 * relativeError).toPrecision(2)} % of the delta`;
}

function mergedOnto(form: BaseForm, onto: 'full' | 'quantised', merged: MergeResult) {
  if (form === 'fp4')
    return 'merged into the full base; by how much it differs from the fp4 checkpoint that the adapter was trained on is not known here';
  const ofWeights = `${(100 * merged.packingChange).toPrecision(2)} % of the norm of the weights`;
  const change = merged.hasDelta
    ? `${ofWeights}, ${merged.packingChangeOfDelta.toPrecision(2)} times that of the delta`
    : ofWeights;
  return onto === 'full'
    ? `merged into the full base, which differs from the ${form} base that the adapter was trained on by ${change}; --onto quantised merges into that one`
    : `merged into the ${form} base that the adapter was trained on, unpacked, which differs from the full base by ${change}`;
}

/** Flags of other formats. */
const NOT_FOR_PARQUET = ['image-root', 'image-dir', 'layout', 'dataset-info', 'dataset-name', 'resume'];

/** Writes the records to a Parquet file, which appears when it is complete; yields no rows. */
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
  run.note(`${count(numRows, 'row')} written to ${output}`);
  yield* [];
}
