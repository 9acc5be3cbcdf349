// SPDX-License-Identifier: Apache-2.0
// Writes schema/record.schema.json from the record's definition, and test/interface.json from the public interface.
import { recordJsonSchema } from '../src/records/record-shape.ts';
import { describeInterface } from './interface.ts';
import { emit } from './manifest.ts';

emit('schema/record.schema.json', `${JSON.stringify(recordJsonSchema(), null, 2)}\n`);
emit('test/interface.json', `${JSON.stringify(describeInterface(), null, 2)}\n`);
