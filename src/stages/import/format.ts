// SPDX-License-Identifier: Apache-2.0
// What an import format is. To add one: a file with an ImportFormat, and a line in index.ts.
import { idText } from '../../records/exact.ts';
import type { Place } from '../../records/field.ts';
import { bareBase64 } from '../../records/image-source.ts';
import type { VprefRecord } from '../../records/record.ts';
import type { JsonItem } from './json-items.ts';

/** A file to read, which can be opened more than once. */
export interface ImportFile {
  /** Name for messages: the path as given, or "stdin". */
  source: string;
  open(): AsyncIterable<Uint8Array>;
  /**
   * A path where these bytes, which open() gave, lie, for readers that go back and forth: the file's own, or a temporary
   * one. Without it such readers hold the bytes.
   */
  onDisk?(bytes: AsyncIterable<Uint8Array>): Promise<string>;
  /** What an item of the file is to the format, where a description of the file says so. Throws RecordError. */
  convert?(value: unknown, at: Place, path: string): unknown;
}

/** What the command line says of benchmarks. */
export interface ImportSetting {
  /** llava: prompts end as LLaVA-1.5's scripts end them; plain: as the files write them. Each format has its default. */
  protocol?: 'llava' | 'plain' | undefined;
  seed: number;
  sources?: readonly string[] | undefined;
  /** mt-bench: images to draw from, one per turn. */
  noisyImages?: readonly string[] | undefined;
  /** mt-bench: the image mark is left in the text and no image goes with it. */
  literalMarker?: boolean | undefined;
}

/** What decides whether an item is selected. Getting it never fails: a bad item has little, and fails later. */
export interface ItemInfo {
  /** The item's own id, if it has one; made unique by a suffix. */
  id?: string;
  /** What --source and --limit SOURCE=N match. */
  source?: string;
  /** Questions that --turns may take one by one; 0 when the item is not a dialogue. */
  numTurns?: number;
}

/** A question of a dialogue with the answer that followed it. */
export interface ImportTurn {
  question: string;
  answer?: string;
}

/** What an item says: a record without its id, image paths as the file writes them. */
export interface Draft extends Partial<VprefRecord> {
  /** For dialogues, in place of `prompt` and `reference`: both are made from the turns that are asked for. */
  system?: string;
  turns?: ImportTurn[];
  /** Where the dialogue's last answer goes: what is known, or what is to be learned from. */
  answerField?: 'reference' | 'response';
}

export interface ImportFormat {
  /** What the file is, as a fragment for --help. */
  summary: string;
  /** The items of all files together, where questions stand in one and what belongs to them in others. */
  allItems?(files: readonly ImportFile[], setting: ImportSetting): AsyncIterable<JsonItem>;
  /** The items of a file; readItems (Parquet, JSON array or JSON lines) when absent. */
  items?(file: ImportFile): AsyncIterable<JsonItem>;
  info(value: unknown): ItemInfo;
  /** Throws RecordError; `path` is where the item stands below its line, to be put before field names. */
  draft(value: unknown, at: Place, path: string): Draft;
  /** The items are records already: their images are resolved, and nothing else is made of them. Throws RecordError. */
  record?(value: unknown, at: Place, path: string): VprefRecord;
  /** Turns of a dialogue to take when --turns is not given: the whole dialogue, or its first question alone. */
  defaultTurns?: 'first';
  /** In items without images `<image>` is text (code, mostly), kept and counted; it is an error otherwise. */
  marksMayBeText?: boolean;
  /** `<video>` and `<audio>` are marks of the format, so that a text with one is an error. */
  hasVideoMarks?: boolean;
}

/** `value.key` if value is an object with a non-empty string or a number there; ids are numbers in some files. */
export function idField(value: unknown, key: string): string | undefined {
  const found = field(value, key);
  if (typeof found === 'number') return idText(value as object, key);
  return typeof found === 'string' && found !== '' ? found : undefined;
}

/** `value.key`, or undefined when there is no such thing. */
export function field(value: unknown, key: string): unknown {
  return typeof value === 'object' && value !== null ? (value as Record<string, unknown>)[key] : undefined;
}

/** Source of an item by its images: the first folder of the first one's path, as LLaVA's mixes name their parts. */
export function imageSource(images: unknown): string {
  const first = Array.isArray(images) ? images[0] : images;
  if (first === undefined || first === null) return 'text';
  const isPath = typeof first === 'string' && !/^[a-z]+:/i.test(first) && bareBase64(first) === undefined;
  const slash = isPath ? first.indexOf('/') : -1;
  return slash > 0 ? first.slice(0, slash) : 'images';
}
