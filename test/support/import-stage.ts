// SPDX-License-Identifier: Apache-2.0
// import on items in memory.
import assert from 'node:assert/strict';
import type { VprefRecord } from '../../src/records/record.ts';
import { type ImportOptions, importFiles, newImportCounts } from '../../src/stages/import/index.ts';

/** What import makes of a file's text, or of items as JSON lines. */
export async function importItems(format: string, items: string | object[], more: Partial<ImportOptions> = {}) {
  const text = typeof items === 'string' ? items : items.map((item) => JSON.stringify(item)).join('\n');
  const options: ImportOptions = {
    format,
    cleaning: 'none',
    imageRoots: [],
    selection: { limits: [], limitDialogues: false, seed: 0 },
    ...more,
  };
  const counts = newImportCounts();
  const records: VprefRecord[] = [];
  const errors: string[] = [];
  const open = async function* () {
    yield Buffer.from(text);
  };
  for await (const result of importFiles([{ source: 'f', open }], options, counts)) {
    records.push(...result.records);
    if (result.error) errors.push(result.error.message);
  }
  return { records, errors, counts };
}

/** The record of one good item. */
export async function importOne(format: string, item: object): Promise<VprefRecord> {
  const { records, errors } = await importItems(format, [item]);
  assert.deepEqual(errors, []);
  assert.equal(records.length, 1);
  return records[0]!;
}

/** The message for one bad item. */
export async function importFailure(format: string, item: object): Promise<string | undefined> {
  const { records, errors } = await importItems(format, [item]);
  assert.deepEqual(records, []);
  return errors[0];
}
