// SPDX-License-Identifier: Apache-2.0
// vpref records, from JSON or from the columns of `export parquet`: checked, with images resolved below the image
// root, otherwise unchanged.
import { RecordError } from '../../records/error.ts';
import { withNumbersOf } from '../../records/exact.ts';
import { isObject } from '../../records/field.ts';
import { parseRecord } from '../../records/parse-record.ts';
import { OTHER_FIELDS } from '../export/parquet.ts';
import { field, type ImportFormat, idField } from './format.ts';

export const records: ImportFormat = {
  summary: 'vpref records, also as written by export parquet',
  info(value) {
    const id = idField(value, 'id');
    const source = field(value, 'source');
    return { ...(id !== undefined && { id }), ...(typeof source === 'string' && { source }) };
  },
  draft: (value, at, path) => records.record!(value, at, path),
  record(value, at) {
    if (!isObject(value)) return parseRecord(value, at);
    const others = value[OTHER_FIELDS];
    if (others !== undefined && others !== null && !isObject(others))
      throw new RecordError(at, OTHER_FIELDS, 'an object', 'something else');
    // A null cell means that the row lacks the column. A null within the record is in the JSON column.
    const own = Object.entries(value).filter(([name, member]) => member !== null && name !== OTHER_FIELDS);
    const record = withNumbersOf(value, Object.fromEntries(own));
    if (others) {
      for (const [name, member] of Object.entries(others))
        Object.defineProperty(record, name, { value: member, writable: true, enumerable: true, configurable: true });
      withNumbersOf(others, record);
    }
    return parseRecord(record, at);
  },
};
