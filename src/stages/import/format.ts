// SPDX-License-Identifier: Apache-2.0
// The interface of an import format. To add one: a file with an ImportFormat, and a line in index.ts.
import { idText } from '../../records/exact.ts';
import type { Place } from '../../records/field.ts';
import { bareBase64 } from '../../records/image-source.ts';
import type { VprefRecord } from '../../records/record.ts';
import type { JsonItem } from './json-items.ts';

/** A file to read; it can be opened repeatedly. */
export interface ImportFile {
  /** Name for messages: the path as given, or "stdin". */
  source: string;
  open(): AsyncIterable<Uint8Array>;
  /**
   * Path of the bytes from open(), for readers that need random access: the file's path, or a temporary file's.
   * Without it such readers hold the bytes in memory.
   */
  onDisk?(bytes: AsyncIterable<Uint8Array>): Promise<string>;
  /** Converts an item as the file's description says, if there is one. Throws RecordError. */
  convert?(value: unknown, at: Place, path: string): unknown;
}

/** Command-line options for benchmarks. */
export interface ImportSetting {
  /** llava: prompts end as in LLaVA-1.5's scripts; plain: as in the files. The default depends on the format. */
  protocol?: 'llava' | 'plain' | undefined;
  seed: number;
  sources?: readonly string[] | undefined;
  /** mt-bench: images to draw from, one per turn */
  noisyImages?: readonly string[] | undefined;
  /** mt-bench: keep the image mark in the text, without an image. */
  literalMarker?: boolean | undefined;
}

/** Fields that selection needs. Reading them never fails: a bad item has fewer, and fails later. */
export interface ItemInfo {
  /** The item's id, if it has one; a suffix makes it unique. */
  id?: string;
  /** The source that --source and --limit SOURCE=N match. */
  source?: string;
  /** Number of questions for --turns; 0 if the item is not a dialogue. */
  numTurns?: number;
}

/** A question of a dialogue and its response. */
export interface ImportTurn {
  question: string;
  response?: string;
}

/** The content of an item: a record without id, with image paths as in the file. */
export interface Draft extends Partial<VprefRecord> {
  /** For dialogues, instead of `prompt` and `reference`, which are built from the selected turns. */
  system?: string;
  turns?: ImportTurn[];
  /** Field for the dialogue's last response: reference, or training target. */
  targetField?: 'reference' | 'response';
}

/** Flags of import that only some formats honour. */
export const FORMAT_FLAGS = ['turns', 'protocol', 'noisy-images'] as const;
export type FormatFlag = (typeof FORMAT_FLAGS)[number];

export interface ImportFormat {
  /** Description of the file, as a fragment for --help. */
  summary: string;
  /** Those of FORMAT_FLAGS that the format honours; the others are refused. */
  flags?: readonly FormatFlag[];
  /** The items of all files together, if questions and their data are in different files. */
  allItems?(files: readonly ImportFile[], setting: ImportSetting): AsyncIterable<JsonItem>;
  /** The items of a file; default: readItems (Parquet, Arrow, JSON array or JSON lines). */
  items?(file: ImportFile): AsyncIterable<JsonItem>;
  info(value: unknown): ItemInfo;
  /** Throws RecordError; `path` is the item's place below its line, a prefix of field names. */
  draft(value: unknown, at: Place, path: string): Draft;
  /** The items are already records: only their image paths are resolved. Throws RecordError. */
  record?(value: unknown, at: Place, path: string): VprefRecord;
  /** Turns of a dialogue without --turns: the whole dialogue, or only its first question. */
  defaultTurns?: 'first';
  /** In items without images, `<image>` is text (mostly code), kept and counted; else it is an error. */
  marksMayBeText?: boolean;
  /** `<video>` and `<audio>` are marks of the format, so a text with one is an error. */
  hasVideoMarks?: boolean;
}

/** `value.key` if value is an object with a non-empty string or a number there; ids are numbers in some files. */
export function idField(value: unknown, key: string): string | undefined {
  const found = field(value, key);
  if (typeof found === 'number') return idText(value as object, key);
  return typeof found === 'string' && found !== '' ? found : undefined;
}

/** `value.key`, or undefined if absent. */
export function field(value: unknown, key: string): unknown {
  return typeof value === 'object' && value !== null ? (value as Record<string, unknown>)[key] : undefined;
}

/** Source of an item: the first folder of its first image's path, as in LLaVA's data mixes. */
export function imageSource(images: unknown): string {
  const first = Array.isArray(images) ? images[0] : images;
  if (first === undefined || first === null) return 'text';
  const isPath = typeof first === 'string' && !/^[a-z]+:/i.test(first) && bareBase64(first) === undefined;
  const slash = isPath ? first.indexOf('/') : -1;
  return slash > 0 ? first.slice(0, slash) : 'images';
}
