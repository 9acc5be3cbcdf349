// SPDX-License-Identifier: Apache-2.0
// Records as a Parquet file with the images' bytes, which `import records` reads back. Columns are the record's
// fields: texts, numbers and booleans as such, images as in the datasets library, all else as JSON.
import type { SchemaElement } from 'hyparquet';
import type { Row } from '../../flow/stage.ts';
import { RecordError, type RunError } from '../../records/error.ts';
import { parseExact, stringifyExact, withNumbersOf } from '../../records/exact.ts';
import {
  describeBytes,
  IMAGE_EXPECTED,
  ImageSourceError,
  imageBytes,
  imageKind,
  imageUri,
  sourceName,
} from '../../records/image-source.ts';
import { optionalFields, requiredFields } from '../../records/record-shape.ts';

/** Column for fields that are not in man 5 vpref-records, as a JSON object. */
export const OTHER_FIELDS = 'vpref.other_fields';

type ColumnKind = 'string' | 'number' | 'boolean' | 'images' | 'json';

const columns: ReadonlyMap<string, ColumnKind> = new Map([
  ...Object.entries({ ...requiredFields, ...optionalFields }).map(([name, { schema }]): [string, ColumnKind] => {
    if (name === 'images') return [name, 'images'];
    const type = (schema as { type?: unknown }).type;
    return [name, type === 'string' || type === 'number' || type === 'boolean' ? type : 'json'];
  }),
  [OTHER_FIELDS, 'json'],
]);

// Limits of a row group, which is held in memory: rows, and bytes of images.
const GROUP_ROWS = 1000;
const GROUP_BYTES = 64 * 2 ** 20;

/**
 * Writes the rows and returns their number. A row that cannot be written goes to `failed`, which throws or
 * counts it.
 */
export async function writeParquet(
  rows: AsyncIterable<Row>,
  path: string,
  failed: (error: RecordError, row: Row) => void,
): Promise<number> {
  // Loaded on first use, because only this format needs it.
  const { fileWriter, ParquetWriter } = await import('hyparquet-writer');
  const writer = new ParquetWriter({
    writer: fileWriter(path),
    schema: parquetSchema(),
    kvMetadata: [huggingFaceFeatures()],
  });
  let group: Map<string, unknown>[] = [];
  let groupBytes = 0;
  let numRows = 0;
  const flush = async () => {
    const columnData = [...columns].map(([name, kind]) => ({
      name,
      data: group.map((cells) => cells.get(name) ?? null),
      // Images are already compressed, and column statistics of them are useless.
      ...(kind === 'images' && { codec: 'UNCOMPRESSED' as const, statistics: false }),
    }));
    if (group.length > 0) await writer.write({ columnData, rowGroupSize: group.length });
    group = [];
    groupBytes = 0;
  };
  for await (const row of rows) {
    try {
      const { cells, numBytes } = await cellsOf(row);
      group.push(cells);
      groupBytes += numBytes;
      numRows += 1;
    } catch (error) {
      if (!(error instanceof RecordError)) throw error;
      failed(error, row);
    }
    if (group.length >= GROUP_ROWS || groupBytes >= GROUP_BYTES) await flush();
  }
  await flush();
  await writer.finish();
  return numRows;
}

const TEXT = { type: 'BYTE_ARRAY', converted_type: 'UTF8', repetition_type: 'OPTIONAL' } as const;

/** The schema of a column, by its kind. */
const elementsOf: Readonly<Record<ColumnKind, (name: string) => SchemaElement[]>> = {
  string: (name) => [{ name, ...TEXT }],
  number: (name) => [{ name, type: 'DOUBLE', repetition_type: 'OPTIONAL' }],
  boolean: (name) => [{ name, type: 'BOOLEAN', repetition_type: 'OPTIONAL' }],
  // Set only the logical type: with the converted type the writer would format values and lose digits.
  json: (name) => [{ name, type: 'BYTE_ARRAY', logical_type: { type: 'JSON' }, repetition_type: 'OPTIONAL' }],
  images: (name) => [
    { name, converted_type: 'LIST', repetition_type: 'OPTIONAL', num_children: 1 },
    { name: 'list', repetition_type: 'REPEATED', num_children: 1 },
    { name: 'element', repetition_type: 'OPTIONAL', num_children: 2 },
    { name: 'bytes', type: 'BYTE_ARRAY', repetition_type: 'OPTIONAL' },
    { name: 'path', ...TEXT },
  ],
};

function parquetSchema(): SchemaElement[] {
  return [
    { name: 'root', num_children: columns.size },
    ...[...columns].flatMap(([name, kind]) => elementsOf[kind](name)),
  ];
}

/** Metadata for the datasets library: the column of images. */
function huggingFaceFeatures(): { key: string; value: string } {
  const types = { string: 'string', number: 'float64', boolean: 'bool', json: 'string' } as const;
  const features = [...columns].map(([name, kind]) => [
    name,
    kind === 'images' ? { feature: { _type: 'Image' }, _type: 'List' } : { dtype: types[kind], _type: 'Value' },
  ]);
  return { key: 'huggingface', value: JSON.stringify({ info: { features: Object.fromEntries(features) } }) };
}

/** The row's cells by column. Throws RecordError. */
async function cellsOf(row: Row): Promise<{ cells: Map<string, unknown>; numBytes: number }> {
  // Parsed again from the text, because the record's numbers have lost digits that the file can store.
  const record = (row.input === undefined ? row.record : parseRow(row, row.input.text)) as unknown as Record<
    string,
    unknown
  >;
  if (OTHER_FIELDS in record)
    throw new RecordError(row, OTHER_FIELDS, 'a field of another name', 'the one that the file keeps');
  const cells = new Map<string, unknown>();
  const others: Record<string, unknown> = {};
  let numBytes = 0;
  for (const [name, value] of Object.entries(record)) {
    const kind = columns.get(name);
    if (kind === undefined || value === null) defineMember(others, name, value);
    else if (kind === 'images') {
      const images = await Promise.all(
        (value as string[]).map((image, index) => imageCell(image, row, `images[${index}]`)),
      );
      for (const { bytes } of images) numBytes += bytes.length;
      cells.set(name, images);
    } else cells.set(name, kind === 'json' ? jsonCell(await embedded(name, value, row)) : value);
  }
  if (Object.keys(others).length > 0) cells.set(OTHER_FIELDS, jsonCell(withNumbersOf(record, others)));
  return { cells, numBytes };
}

function parseRow(row: Row, text: string): unknown {
  try {
    return parseExact(text);
  } catch (cause) {
    throw new RecordError(row, 'record', 'a record that can be kept whole', (cause as RunError).message);
  }
}

// An assignment to "__proto__" would be lost.
function defineMember(object: Record<string, unknown>, name: string, value: unknown): void {
  Object.defineProperty(object, name, { value, writable: true, enumerable: true, configurable: true });
}

function jsonCell(value: unknown): Buffer {
  return Buffer.from(stringifyExact(value));
}

async function imageCell(image: string, row: Row, field: string): Promise<{ bytes: Buffer; path: string | null }> {
  return { bytes: await bytesOf(image, row, field), path: image.startsWith('data:') ? null : image };
}

async function bytesOf(image: string, row: Row, field: string): Promise<Buffer> {
  let bytes: Buffer;
  try {
    bytes = await imageBytes(image);
  } catch (cause) {
    if (!(cause instanceof ImageSourceError)) throw cause;
    throw new RecordError(row, field, cause.expected, `${sourceName(image)}: ${cause.got}`);
  }
  if (imageKind(bytes) !== undefined) return bytes;
  throw new RecordError(row, field, IMAGE_EXPECTED, `${sourceName(image)}: ${describeBytes(bytes)}`);
}

/** The field with image files as data: URIs, for views and image-side negatives. */
async function embedded(name: string, value: unknown, row: Row): Promise<unknown> {
  if (name === 'rejected_images') return embeddedImages(value, row, name);
  if (name !== 'views') return value;
  return Promise.all(
    (value as Record<string, unknown>[]).map(async (view, index) =>
      view.images === undefined
        ? view
        : withNumbersOf(view, { ...view, images: await embeddedImages(view.images, row, `views[${index}].images`) }),
    ),
  );
}

async function embeddedImages(value: unknown, row: Row, field: string): Promise<unknown> {
  if (Array.isArray(value))
    return Promise.all(value.map((member, index) => embeddedImages(member, row, `${field}[${index}]`)));
  return imageUri(await bytesOf(value as string, row, field));
}
