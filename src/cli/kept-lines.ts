// SPDX-License-Identifier: Apache-2.0
// --resume of a file whose rows have no ids: the run recomputes the existing lines and compares
// them one by one.
import { closeSync, fstatSync, openSync, readSync } from 'node:fs';
import { UsageError } from '../records/error.ts';

const CHUNK_BYTES = 256 * 1024;
const NEWLINE = 0x0a;

/** The complete lines of a file, except the end of a JSON array, which later rows change. */
export class KeptLines {
  /** Length of these lines. */
  readonly bytes: number;
  readonly #path: string;
  readonly #fd: number;
  #chunk = Buffer.alloc(0);
  #at = 0;
  #line = 0;

  constructor(path: string) {
    this.#path = path;
    this.#fd = openSync(path, 'r');
    this.bytes = this.#end();
  }

  /** Whether the line is already written. Throws UsageError if another line is there. */
  has(line: string): boolean {
    if (this.#at >= this.bytes) return false;
    const wanted = Buffer.from(`${line}\n`);
    this.#line += 1;
    if (!wanted.equals(this.#take(Math.min(wanted.length, this.bytes - this.#at))))
      throw new UsageError(
        `${this.#path}:${this.#line}: expected the row that this input and these flags give, got another: --resume cannot continue this file`,
      );
    return true;
  }

  /** Throws UsageError unless every line was reproduced. */
  checkAll(): void {
    if (this.#at < this.bytes)
      throw new UsageError(
        `${this.#path}:${this.#line + 1}: expected no more rows than this input and these flags give, got one: --resume cannot continue this file`,
      );
  }

  close(): void {
    closeSync(this.#fd);
  }

  #take(length: number): Buffer {
    if (this.#chunk.length < length) {
      const from = this.#at + this.#chunk.length;
      const more = this.#read(from, Math.min(Math.max(CHUNK_BYTES, length), this.bytes - from));
      this.#chunk = Buffer.concat([this.#chunk, more]);
    }
    const taken = this.#chunk.subarray(0, length);
    this.#chunk = this.#chunk.subarray(length);
    this.#at += length;
    return taken;
  }

  #end(): number {
    const end = this.#lineStart(fstatSync(this.#fd).size);
    const last = this.#lineStart(end - 1);
    if (end === 0 || this.#read(last, end - last).toString() !== ']\n') return end;
    return this.#lineStart(last - 1);
  }

  /** Start of the line that ends before `end`: after the previous newline. */
  #lineStart(end: number): number {
    for (let to = end; to > 0; ) {
      const from = Math.max(0, to - CHUNK_BYTES);
      const place = this.#read(from, to - from).lastIndexOf(NEWLINE);
      if (place >= 0) return from + place + 1;
      to = from;
    }
    return 0;
  }

  #read(from: number, length: number): Buffer {
    const bytes = Buffer.alloc(length);
    let filled = 0;
    for (let count = 1; filled < length && count > 0; filled += count)
      count = readSync(this.#fd, bytes, filled, length - filled, from + filled);
    return bytes.subarray(0, filled);
  }
}
