// SPDX-License-Identifier: Apache-2.0
// import: items of other tools' files -> prompt records. Every format by its name on the command line.

import { benchmarks } from '../../benchmarks/by-name.ts';
import { mapRows, mapRowsConcurrently, type Row, type RowResult } from '../../flow/stage.ts';
import { PixelError } from '../../pixels/pixel-error.ts';
import type { PixelPool } from '../../pixels/pool.ts';
import { RecordError } from '../../records/error.ts';
import { withNumbersOf } from '../../records/exact.ts';
import { joinPath } from '../../records/field.ts';
import { IdSet } from '../../records/id-set.ts';
import type { VprefRecord } from '../../records/record.ts';
import { type Cleaning, dialoguePrompt, questionPrompt } from './dialogue.ts';
import type { Draft, ImportFile, ImportFormat, ImportSetting, ItemInfo } from './format.ts';
import { helpsteer } from './helpsteer.ts';
import { type ImageRoot, imageReference, resolveImage } from './images.ts';
import { readItems } from './items.ts';
import type { JsonItem } from './json-items.ts';
import { alpaca, llamaFactory } from './llama-factory.ts';
import { llava } from './llava.ts';
import { lrv } from './lrv.ts';
import { checkSlots, checkTexts, readImageTags } from './marks.ts';
import { msSwift } from './ms-swift.ts';
import { openai } from './openai.ts';
import { withLikelyFormat } from './recognise.ts';
import { records } from './records.ts';
import { scigraphqa } from './scigraphqa.ts';
import { type Candidate, candidate, limitCandidates, type Selection } from './select.ts';
import { seva } from './seva.ts';
import { sharegpt } from './sharegpt.ts';
import { trl } from './trl.ts';

export const importFormats: Readonly<Record<string, ImportFormat>> = {
  llava,
  lrv,
  scigraphqa,
  sharegpt,
  trl,
  'llama-factory': llamaFactory,
  'ms-swift': msSwift,
  alpaca,
  openai,
  seva,
  helpsteer,
  records,
  ...benchmarkFormats(),
};

function benchmarkFormats(): Record<string, ImportFormat> {
  return Object.fromEntries(
    [...benchmarks].flatMap(([name, { import: format }]) => (format === undefined ? [] : [[name, format]])),
  );
}

export interface ImportOptions {
  /** Name in importFormats. */
  format: string;
  selection: Selection;
  cleaning: Cleaning;
  imageRoots: readonly ImageRoot[];
  /** Creates the workers that decode each image; without it images are not decoded. */
  createPool?: () => PixelPool;
  /** For benchmarks. */
  setting?: Omit<ImportSetting, 'seed' | 'sources'>;
}

/** Counts for the summary. */
export interface ImportCounts {
  items: number;
  /** Items by source. */
  sources: Map<string, number>;
  /** Items of sources that were not selected. */
  otherSource: number;
  /** Items beyond the limits. */
  overLimit: number;
  /** Missing or unreadable images by source. */
  badImages: Map<string, number>;
  /** Records with `<image>` as text, because the item has no images. */
  markTexts: number;
}

export function newImportCounts(): ImportCounts {
  return { items: 0, sources: new Map(), otherSource: 0, overLimit: 0, badImages: new Map(), markTexts: 0 };
}

/** An item that becomes a record. */
interface ItemRow extends Row {
  item: JsonItem;
  turns: number[] | undefined;
  itemSource: string | undefined;
}

/**
 * Records of the files' items, in order. With limits, reads the files twice: once to draw, once to import.
 * Bad items are results with an error, regardless of limits.
 */
export async function* importFiles(
  files: readonly ImportFile[],
  options: ImportOptions,
  counts: ImportCounts,
): AsyncGenerator<RowResult> {
  const format = importFormats[options.format]!;
  const convert = (row: Row) => toRecords(row as ItemRow, format, options, counts);
  const rows = selectItems(files, format, options, counts);
  const pool = options.createPool?.();
  if (pool === undefined) {
    yield* mapRows(convert)(rows);
    return;
  }
  const check = async (row: Row) => checkImages(convert(row), row as ItemRow, counts, pool);
  try {
    yield* mapRowsConcurrently(check, pool.numThreads * 2)(rows);
  } finally {
    await pool.close();
  }
}

async function* selectItems(
  files: readonly ImportFile[],
  format: ImportFormat,
  options: ImportOptions,
  counts: ImportCounts,
): AsyncGenerator<ItemRow> {
  const { selection } = options;
  let cut = (candidate: Candidate): Candidate | undefined => candidate;
  if (selection.limits.length > 0) {
    const limits = limitCandidates(selection);
    for await (const { id, info, item } of identifiedItems(files, format, options)) {
      const found = item.error === undefined && candidate(id, info, selection);
      if (found) limits.add(found);
    }
    cut = limits.cut();
  }
  for await (const { id, info, item } of identifiedItems(files, format, options)) {
    counts.items += 1;
    if (info.source !== undefined) counts.sources.set(info.source, (counts.sources.get(info.source) ?? 0) + 1);
    const { source, line } = item;
    const row = { record: { id, prompt: '' }, source, line, item, turns: undefined, itemSource: info.source };
    if (item.error !== undefined) {
      yield row;
      continue;
    }
    const found = candidate(id, info, selection);
    if (found === undefined) {
      counts.otherSource += 1;
      continue;
    }
    const kept = cut(found);
    if (kept === undefined) counts.overLimit += 1;
    else yield { ...row, turns: kept.turns };
  }
}

interface IdentifiedItem {
  id: string;
  info: ItemInfo;
  item: JsonItem;
}

/** Every item with a unique id: its own, with suffix "~2" and so on if repeated; else a number. */
async function* identifiedItems(
  files: readonly ImportFile[],
  format: ImportFormat,
  { format: name, selection, setting: own }: ImportOptions,
): AsyncGenerator<IdentifiedItem> {
  const setting = { ...own, seed: selection.seed, sources: selection.sources };
  const ids = new IdSet();
  let number = 0;
  for await (const item of format.allItems?.(files, setting) ?? itemsOfEach(files, format)) {
    const info = format.info(item.value);
    number += 1;
    const wanted = info.id ?? `${name}-${number}`;
    let id = wanted;
    for (let copy = 2; !ids.add(id); copy++) id = `${wanted}~${copy}`;
    yield { id, info, item };
  }
}

async function* itemsOfEach(files: readonly ImportFile[], format: ImportFormat): AsyncGenerator<JsonItem> {
  for (const file of files)
    for await (const item of format.items?.(file) ?? readItems(file)) yield file.convert ? converted(item, file) : item;
}

function converted(item: JsonItem, { convert }: ImportFile): JsonItem {
  if (item.error !== undefined) return item;
  try {
    return { ...item, value: convert!(item.value, item, item.path) };
  } catch (error) {
    if (!(error instanceof RecordError)) throw error;
    return { ...item, error };
  }
}

/** The records of one item; ids of a dialogue's questions are `id#turn`, their group is `id`. */
function toRecords(row: ItemRow, format: ImportFormat, options: ImportOptions, counts: ImportCounts): VprefRecord[] {
  const { item, itemSource } = row;
  if (item.error !== undefined) throw item.error;
  if (format.record !== undefined) return [ownRecord(format.record(item.value, row, item.path), row, options)];
  const draft = toDraft(row, format, options);
  const { id } = row.record;
  const whole = { format, onText: () => (counts.markTexts += 1) };
  const turns = draft.turns ?? [];
  const asked = row.turns ?? (format.defaultTurns === 'first' ? [0] : undefined);
  if (turns.length === 0 || asked === undefined) {
    const prompt = turns.length === 0 ? draft.prompt! : dialoguePrompt(turns, draft.system);
    return [toRecord(row, draft, options, { ...whole, id, prompt, response: turns.at(-1)?.response })];
  }
  return asked.map((index) => {
    const turn = turns[index]!;
    if (turn.question.trim() === '')
      throw new RecordError(row, joinPath(item.path, `turn ${index + 1}`), 'a question', 'an empty string');
    const own = turns.length === 1 || row.turns === undefined ? { id } : { id: `${id}#${index}`, group: id };
    const prompt = questionPrompt(draft, turn, options.cleaning, itemSource);
    return toRecord(row, draft, options, { ...whole, ...own, prompt, response: turn.response });
  });
}

/** The item's content, with the images of its texts. Throws RecordError, which names a format that fits better. */
function toDraft({ item, ...row }: ItemRow, format: ImportFormat, options: ImportOptions): Draft {
  try {
    const draft = readImageTags(format.draft(item.value, row, item.path), row, item.path);
    checkTexts(draft, format, row, item.path);
    return draft;
  } catch (error) {
    throw withLikelyFormat(error, item.value, options.format);
  }
}

function ownRecord(record: VprefRecord, row: ItemRow, { imageRoots }: ImportOptions): VprefRecord {
  if (record.id !== row.record.id)
    throw new RecordError(row, joinPath(row.item.path, 'id'), 'an id not seen before', JSON.stringify(record.id));
  if (record.error !== undefined || record.images === undefined) return record;
  const images = record.images.map((image, index) => {
    const field = joinPath(row.item.path, `images[${index}]`);
    return resolveImage(imageReference(image, row, field), record.source, imageRoots, { at: row, field });
  });
  return withNumbersOf(record, { ...record, images });
}

interface RecordParts {
  format: ImportFormat;
  onText: () => void;
  id: string;
  group?: string;
  prompt: VprefRecord['prompt'];
  response: string | undefined;
}

/** The record with its fields in the order of man 5 vpref-records, and resolved images. */
function toRecord(row: ItemRow, draft: Draft, options: ImportOptions, parts: RecordParts): VprefRecord {
  const { item, itemSource } = row;
  const {
    turns: _turns,
    system: _system,
    prompt: _prompt,
    targetField = 'reference',
    images: written,
    source,
    ...rest
  } = draft;
  const images = written?.map((image, index) => {
    const field = joinPath(item.path, `images[${index}]`);
    return resolveImage(imageReference(image, row, field), itemSource, options.imageRoots, { at: row, field });
  });
  const { id, group, response, format, onText } = parts;
  const ownSource = itemSource === undefined || itemSource === options.format ? '' : `/${itemSource}`;
  return {
    id,
    ...(group !== undefined && { group }),
    ...(images !== undefined && { images }),
    prompt: checkSlots(parts.prompt, images, { format, at: row, path: item.path, onText }),
    ...(response !== undefined && targetField === 'reference' && { reference: response }),
    source: source ?? `${options.format}${ownSource}`,
    ...rest,
    ...(response !== undefined && targetField === 'response' && { response: response }),
  };
}

/** Decodes the images as later stages do. */
async function checkImages(
  records: VprefRecord[],
  row: ItemRow,
  counts: ImportCounts,
  pool: PixelPool,
): Promise<VprefRecord[]> {
  for (const [index, image] of (records[0]?.images ?? []).entries()) {
    try {
      await pool.run('check', { source: image });
    } catch (error) {
      if (!(error instanceof PixelError)) throw error;
      const source = row.itemSource ?? 'unknown';
      counts.badImages.set(source, (counts.badImages.get(source) ?? 0) + 1);
      // A row kept with its error should hold the whole record.
      Object.assign(row.record, records[0]);
      const field = joinPath(row.item.path, `images[${index}]`);
      throw new RecordError(row, field, error.expected, `${error.subject}: ${error.got}`);
    }
  }
  return records;
}
