// SPDX-License-Identifier: Apache-2.0
// export: preference records -> other trainers' files, row by row. Every format by its name on the command line.
import { basename } from 'node:path';
import type { Row } from '../../flow/stage.ts';
import { RecordError } from '../../records/error.ts';
import type { VprefRecord } from '../../records/record.ts';
import { type Example, recordExamples } from './example.ts';
import { type ExportFormat, formatRow } from './format.ts';
import type { ImagePath } from './image-path.ts';
import { llamaFactory } from './llama-factory.ts';
import { llava } from './llava.ts';
import { msSwift } from './ms-swift.ts';
import { seva } from './seva.ts';
import { trl } from './trl.ts';

export const exportFormats: Readonly<Record<string, ExportFormat>> = {
  trl,
  'llama-factory': llamaFactory,
  'ms-swift': msSwift,
  llava,
  seva,
};

export interface ExportOptions {
  /** Name in exportFormats. */
  format: string;
  /** Rows without an image column (trl); default: as the first row. */
  isText?: boolean;
  imagePath: ImagePath;
}

export interface ExportCounts {
  rows: number;
  /** Fields that the format cannot hold, with the number of records. */
  leftOut: Map<string, number>;
  /** The first row written, for a description of the file. */
  first?: Record<string, unknown>;
}

/**
 * The lines of the file. A record that cannot be written goes to `failed`, which throws or counts it. Rows are never
 * partly written.
 */
export async function* exportLines(
  rows: AsyncIterable<Row>,
  options: ExportOptions,
  counts: ExportCounts,
  failed: (error: RecordError, row: Row) => void,
): AsyncGenerator<string> {
  const format = exportFormats[options.format]!;
  const isArray = format.layout === 'array';
  const writer = new RowWriter(format, options, counts);
  // The last line of an array has no comma, so each line waits for the next.
  let waiting = isArray ? '[' : undefined;
  let comma = '';
  for await (const row of rows) {
    let lines: string[];
    try {
      lines = writer.lines(row);
    } catch (error) {
      if (!(error instanceof RecordError)) throw error;
      failed(error, row);
      continue;
    }
    for (const line of lines) {
      counts.rows += 1;
      if (!isArray) {
        yield line;
        continue;
      }
      yield `${waiting}${comma}`;
      waiting = line;
      comma = ',';
    }
  }
  if (!isArray) return;
  yield waiting!;
  yield ']';
}

export function newExportCounts(): ExportCounts {
  return { rows: 0, leftOut: new Map() };
}

class RowWriter {
  readonly #format: ExportFormat;
  readonly #options: ExportOptions;
  readonly #counts: ExportCounts;
  #isText: boolean | undefined;
  #columns: readonly string[] | undefined;
  /** The file of each name, for formats that drop folders. */
  readonly #fileOfName = new Map<string, string>();

  constructor(format: ExportFormat, options: ExportOptions, counts: ExportCounts) {
    this.#format = format;
    this.#options = options;
    this.#counts = counts;
    this.#isText = options.isText;
  }

  lines(row: Row): string[] {
    const { imagePath } = this.#options;
    const examples = recordExamples(row, (path, field) => imagePath(path, row, field));
    if (this.#format.hasFileNamesOnly) this.#checkFileNames(examples[0]!, row);
    const lines = this.#format.chosenOnly
      ? [this.#line({ ...examples[0]!, id: row.record.id }, row)]
      : examples.map((example) => this.#line(example, row));
    const { leftOut } = this.#counts;
    for (const what of notHeld(row.record, examples[0]!, this.#format)) leftOut.set(what, (leftOut.get(what) ?? 0) + 1);
    return lines;
  }

  /** Two files with one name would be mixed up. */
  #checkFileNames({ images }: Example, row: Row): void {
    for (const [index, path] of images.entries()) {
      const name = basename(path);
      const other = this.#fileOfName.get(name) ?? path;
      if (other !== path)
        throw new RecordError(row, `images[${index}]`, `a file name of its own (${other} has it too)`, path);
      this.#fileOfName.set(name, path);
    }
  }

  #line(example: Example, row: Row): string {
    this.#isText ??= example.images.length === 0;
    if (this.#isText && example.images.length > 0 && this.#format === trl)
      throw new RecordError(
        row,
        'images',
        'none, as in the first row (--layout vision writes both kinds)',
        String(example.images.length),
      );
    const made = this.#format.row(example, row, this.#isText);
    this.#checkColumns(made, row);
    this.#counts.first ??= made;
    return formatRow(made);
  }

  /** Readers build a table from the rows, so all rows need the same columns. */
  #checkColumns(made: Record<string, unknown>, row: Row): void {
    const { optional = [] } = this.#format;
    const columns = Object.keys(made).filter((column) => !optional.includes(column));
    this.#columns ??= columns;
    const first = this.#columns;
    if (columns.length === first.length && columns.every((column, place) => column === first[place])) return;
    const listed = (names: readonly string[]) => `(${names.join(', ')})`;
    throw new RecordError(row, 'record', `the columns of the first row ${listed(first)}`, listed(columns));
  }
}

/** The record's fields that its rows lack. */
function notHeld(record: VprefRecord, { preference }: Example, { holds, hasFileNamesOnly }: ExportFormat): string[] {
  const isHeld = (key: string) => {
    if (!holds.includes(key)) return false;
    if (key.startsWith('ref_')) return preference?.refLogps !== undefined;
    const isOfPair = key === 'chosen' || key === 'rejected' || key === 'rejected_images';
    return key === 'response' || key === 'label' ? preference === undefined : !isOfPair || preference !== undefined;
  };
  const fields = Object.keys(record).filter((key) => record[key] !== undefined && record[key] !== null && !isHeld(key));
  if (Array.isArray(record.rejected_images?.[1]) && isHeld('rejected_images'))
    fields.push('rejected_images after the first set');
  if (hasFileNamesOnly && record.images?.some((image) => basename(image) !== image)) fields.push('folders of images');
  return fields;
}
