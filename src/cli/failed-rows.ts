// SPDX-License-Identifier: Apache-2.0
// Writes failed records to a file beside the output, for commands whose rows cannot hold an error.
import { rmSync } from 'node:fs';
import { formatLine } from '../records/lines.ts';
import type { VprefRecord } from '../records/record.ts';
import { openTableSink } from './output.ts';
import type { Sink } from './sink.ts';

export class FailedRows {
  readonly path: string;
  numRows = 0;
  #sink: Sink | undefined;

  constructor(output: string) {
    this.path = `${output}.errors.ndjson`;
  }

  push(record: VprefRecord): void {
    this.#sink ??= openTableSink(this.path);
    this.#sink.push(formatLine(record));
    this.numRows += 1;
  }

  async finish(): Promise<void> {
    if (this.#sink === undefined) rmSync(this.path, { force: true });
    else await this.#sink.finish();
  }

  async save(): Promise<void> {
    await this.#sink?.save();
  }
}
