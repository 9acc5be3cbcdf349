// SPDX-License-Identifier: Apache-2.0
// import: items of other tools' files -> prompt records. Every format by its name on the command line.
import { placed, RecordError } from '../../records/error.ts';
import { joinPath } from '../../records/field.ts';
import { IdSet } from '../../records/id-set.ts';
import type { VprefRecord } from '../../records/record.ts';
import { mapRows, mapRowsConcurrently, type Row, type RowResult } from '../stage.ts';
import { alpacaEval } from './alpaca-eval.ts';
import { type Cleaning, checkSlots, dialoguePrompt, questionPrompt } from './dialogue.ts';
import type { Draft, ImportFile, ImportFormat, ImportSetting, ItemFacts } from './format.ts';
import { gqa } from './gqa.ts';
import { helpsteer } from './helpsteer.ts';
import { checkImageFile, checkImageForm, type ImageRoot, resolveImage } from './images.ts';
import { readItems } from './items.ts';
import type { JsonItem } from './json-items.ts';
import { llava } from './llava.ts';
import { llavaBench } from './llava-bench.ts';
import { lrv } from './lrv.ts';
import { mmbench } from './mmbench.ts';
import { mmvet } from './mmvet.ts';
import { mtBench } from './mt-bench.ts';
import { pope } from './pope.ts';
import { scienceqa } from './scienceqa.ts';
import { scigraphqa } from './scigraphqa.ts';
import { seedBench } from './seed-bench.ts';
import { type Candidate, candidate, limitCandidates, type Selection } from './select.ts';
import { seva } from './seva.ts';
import { sharegpt } from './sharegpt.ts';
import { shr } from './shr.ts';
import { trl } from './trl.ts';

export const importFormats: Readonly<Record<string, ImportFormat>> = {
  llava,
  lrv,
  scigraphqa,
  sharegpt,
  trl,
  seva,
  helpsteer,
  pope,
  mmvet,
  'llava-bench': llavaBench,
  mmbench,
  'seed-bench': seedBench,
  shr,
  scienceqa,
  gqa,
  'mt-bench': mtBench,
  'alpaca-eval': alpacaEval,
};

export interface ImportOptions {
  /** Name in importFormats. */
  format: string;
  selection: Selection;
  cleaning: Cleaning;
  imageRoots: readonly ImageRoot[];
  /** Look whether each image is there. */
  checkImages: boolean;
  /** For benchmarks. */
  setting?: Omit<ImportSetting, 'seed' | 'sources'>;
}

/** What was read, for the summary. */
export interface ImportCounts {
  items: number;
  /** Items by source. */
  sources: Map<string, number>;
  /** Items whose source was not asked for. */
  otherSource: number;
  /** Items that limits left out. */
  overLimit: number;
  /** Missing or unreadable images by source. */
  badImages: Map<string, number>;
}

export function newImportCounts(): ImportCounts {
  return { items: 0, sources: new Map(), otherSource: 0, overLimit: 0, badImages: new Map() };
}

/** An item on its way to a record. */
interface ItemRow extends Row {
  item: JsonItem;
  turns: number[] | undefined;
  itemSource: string | undefined;
}

/**
 * Records of the files' items, in their order. Limits make it read the files twice: once to draw, once to import.
 * Bad items are results with an error, whatever the limits.
 */
export async function* importFiles(
  files: readonly ImportFile[],
  options: ImportOptions,
  counts: ImportCounts,
): AsyncGenerator<RowResult> {
  const format = importFormats[options.format]!;
  const convert = (row: Row) => toRecords(row as ItemRow, format, options);
  const stage = options.checkImages
    ? mapRowsConcurrently(async (row) => checkImages(convert(row), row as ItemRow, counts), 32)
    : mapRows(convert);
  yield* stage(selectItems(files, format, options, counts));
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
    for await (const { id, facts, item } of identifiedItems(files, format, options)) {
      const found = item.error === undefined && candidate(id, facts, selection);
      if (found) limits.add(found);
    }
    cut = limits.cut();
  }
  for await (const { id, facts, item } of identifiedItems(files, format, options)) {
    counts.items += 1;
    if (facts.source !== undefined) counts.sources.set(facts.source, (counts.sources.get(facts.source) ?? 0) + 1);
    const { source, line } = item;
    const row = { record: { id, prompt: '' }, source, line, item, turns: undefined, itemSource: facts.source };
    if (item.error !== undefined) {
      yield row;
      continue;
    }
    const found = candidate(id, facts, selection);
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
  facts: ItemFacts;
  item: JsonItem;
}

/** Every item with an id that no other has: its own, with "~2" and so on where one comes again; else a number. */
async function* identifiedItems(
  files: readonly ImportFile[],
  format: ImportFormat,
  { format: name, selection, setting: own }: ImportOptions,
): AsyncGenerator<IdentifiedItem> {
  const setting = { ...own, seed: selection.seed, sources: selection.sources };
  const ids = new IdSet();
  let number = 0;
  for await (const item of format.allItems?.(files, setting) ?? itemsOfEach(files, format)) {
    const facts = format.facts(item.value);
    number += 1;
    const wanted = facts.id ?? `${name}-${number}`;
    let id = wanted;
    for (let copy = 2; !ids.add(id); copy++) id = `${wanted}~${copy}`;
    yield { id, facts, item };
  }
}

async function* itemsOfEach(files: readonly ImportFile[], format: ImportFormat): AsyncGenerator<JsonItem> {
  for (const file of files) yield* format.items?.(file) ?? readItems(file);
}

/** The records of one item; ids of a dialogue's questions are `id#turn`, their group is `id`. */
function toRecords(row: ItemRow, format: ImportFormat, options: ImportOptions): VprefRecord[] {
  const { item, itemSource } = row;
  if (item.error !== undefined) throw item.error;
  const draft = format.draft(item.value, row, item.path);
  const { id } = row.record;
  const turns = draft.turns ?? [];
  const asked = row.turns ?? (format.defaultTurns === 'first' ? [0] : undefined);
  if (turns.length === 0 || asked === undefined) {
    const prompt = turns.length === 0 ? draft.prompt! : dialoguePrompt(turns, draft.system);
    return [toRecord(row, draft, options, { id, prompt, reference: turns.at(-1)?.answer })];
  }
  return asked.map((index) => {
    const turn = turns[index]!;
    if (turn.question.trim() === '')
      throw new RecordError(row, joinPath(item.path, `turn ${index + 1}`), 'a question', 'an empty string');
    const own = turns.length === 1 || row.turns === undefined ? { id } : { id: `${id}#${index}`, group: id };
    const prompt = questionPrompt(draft, turn, options.cleaning, itemSource);
    return toRecord(row, draft, options, { ...own, prompt, reference: turn.answer });
  });
}

interface RecordParts {
  id: string;
  group?: string;
  prompt: VprefRecord['prompt'];
  reference: string | undefined;
}

/** The record in the order of man 5 vpref-records, its images where later stages find them. */
function toRecord(row: ItemRow, draft: Draft, options: ImportOptions, parts: RecordParts): VprefRecord {
  const { item, itemSource } = row;
  const { turns: _turns, system: _system, prompt: _prompt, images: written, source, ...rest } = draft;
  const images = written?.map((image, index) => {
    const field = joinPath(item.path, `images[${index}]`);
    checkImageForm(image, row, field);
    return resolveImage(image, itemSource, options.imageRoots, { at: row, field });
  });
  const { id, group, reference } = parts;
  const ownSource = itemSource === undefined || itemSource === options.format ? '' : `/${itemSource}`;
  return {
    id,
    ...(group !== undefined && { group }),
    ...(images !== undefined && { images }),
    prompt: checkSlots(parts.prompt, images?.length ?? 0, row, joinPath(item.path, 'prompt')),
    ...(reference !== undefined && { reference }),
    source: source ?? `${options.format}${ownSource}`,
    ...rest,
  };
}

async function checkImages(records: VprefRecord[], row: ItemRow, counts: ImportCounts): Promise<VprefRecord[]> {
  try {
    for (const [index, image] of (records[0]?.images ?? []).entries())
      await checkImageFile(image, joinPath(row.item.path, `images[${index}]`));
  } catch (error) {
    const source = row.itemSource ?? 'unknown';
    counts.badImages.set(source, (counts.badImages.get(source) ?? 0) + 1);
    // A kept row should be the record, not the empty shell that stood for it.
    Object.assign(row.record, records[0]);
    throw placed(row, error);
  }
  return records;
}
