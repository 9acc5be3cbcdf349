// SPDX-License-Identifier: Apache-2.0
// Splits the bytes of a JSON file into its top-level items.
import {
  BACKSLASH,
  CLOSE_BRACE,
  CLOSE_BRACKET,
  COMMA,
  OPEN_BRACE,
  OPEN_BRACKET,
  QUOTE,
} from '../../records/json-chars.ts';

/** Maximum item size: a longer one means a bracket or quote that is never closed. */
export const MAX_ITEM_BYTES = 256 * 2 ** 20;

export const NEWLINE = 0x0a;
// Blanks of JSON and the three bytes of a byte order mark.
export const BLANK: ReadonlySet<number> = new Set([0x20, 0x09, 0x0a, 0x0d, 0xef, 0xbb, 0xbf]);

export interface Scanned {
  /** Undefined for an item above MAX_ITEM_BYTES, which is skipped. */
  bytes: Buffer | undefined;
  line: number;
}

/** The items: values between commas at depth 1 of an array, or objects at depth 0. */
export class ItemScanner {
  line = 1;
  isClosed = false;
  readonly #itemDepth: 0 | 1;
  #depth = 0;
  #inString = false;
  /** The previous chunk ended with an odd number of backslashes in a string. */
  #isEscaped = false;
  /** Parts of the current item from earlier chunks; undefined between items. */
  #parts: Buffer[] | undefined;
  #numBytes = 0;
  #isTooLong = false;
  #startLine = 1;
  #afterComma = false;

  constructor(itemDepth: 0 | 1) {
    this.#itemDepth = itemDepth;
  }

  /** The items that end in this chunk. */
  *push(chunk: Uint8Array): Generator<Scanned> {
    const bytes = Buffer.from(chunk.buffer, chunk.byteOffset, chunk.byteLength);
    let start = 0;
    for (let at = 0; at < bytes.length; ) {
      if (this.#inString) {
        at = this.#skipString(bytes, at);
        continue;
      }
      const byte = bytes[at]!;
      if (BLANK.has(byte)) {
        if (byte === NEWLINE) this.line += 1;
        at += 1;
        continue;
      }
      if (this.#endsArrayItem(byte)) {
        const item = this.#finish(bytes, start, at);
        // "[]" has no item; "[a,]" and "[,a]" have an empty one.
        if (item.bytes?.length !== 0 || byte === COMMA || this.#afterComma) yield item;
        this.#afterComma = byte === COMMA;
        if (byte === CLOSE_BRACKET) {
          this.isClosed = true;
          this.#depth = 0;
        }
        at += 1;
        continue;
      }
      const opensArray = this.#itemDepth === 1 && this.#depth === 0 && byte === OPEN_BRACKET && !this.isClosed;
      if (!opensArray && this.#parts === undefined) {
        this.#parts = [];
        this.#startLine = this.line;
        start = at;
      }
      if (byte === QUOTE) this.#inString = true;
      else if (byte === OPEN_BRACE || byte === OPEN_BRACKET) this.#depth += 1;
      else if (byte === CLOSE_BRACE || byte === CLOSE_BRACKET) this.#depth -= 1;
      at += 1;
      if (this.#itemDepth === 0 && this.#depth <= 0 && byte === CLOSE_BRACE) {
        yield this.#finish(bytes, start, at);
        this.#depth = 0;
      }
    }
    if (this.#parts !== undefined) this.#hold(bytes.subarray(start));
  }

  /** The unfinished item, if any. */
  rest(): Scanned | undefined {
    if (this.#parts === undefined) return undefined;
    return { bytes: this.#isTooLong ? undefined : Buffer.concat(this.#parts), line: this.#startLine };
  }

  #endsArrayItem(byte: number): boolean {
    return this.#itemDepth === 1 && this.#depth === 1 && !this.isClosed && (byte === COMMA || byte === CLOSE_BRACKET);
  }

  #finish(bytes: Buffer, start: number, end: number): Scanned {
    const parts = this.#parts;
    const line = parts === undefined ? this.line : this.#startLine;
    this.#parts = undefined;
    this.#numBytes = 0;
    if (parts === undefined) return { bytes: bytes.subarray(0, 0), line };
    const isTooLong = this.#isTooLong;
    this.#isTooLong = false;
    if (isTooLong) return { bytes: undefined, line };
    const last = bytes.subarray(start, end);
    return { bytes: parts.length === 0 ? last : Buffer.concat([...parts, last]), line };
  }

  #hold(bytes: Buffer): void {
    this.#numBytes += bytes.length;
    if (this.#numBytes > MAX_ITEM_BYTES) {
      this.#isTooLong = true;
      this.#parts = [];
    } else this.#parts!.push(Buffer.from(bytes));
  }

  /** Offset after the string's closing quote, or the chunk's length. Strings hold no raw newlines. */
  #skipString(bytes: Buffer, from: number): number {
    const quote = bytes.indexOf(QUOTE, from);
    const end = quote === -1 ? bytes.length : quote;
    let backslashes = 0;
    while (end - 1 - backslashes >= from && bytes[end - 1 - backslashes] === BACKSLASH) backslashes += 1;
    const isEscaped = (backslashes + (backslashes === end - from && this.#isEscaped ? 1 : 0)) % 2 === 1;
    this.#isEscaped = quote === -1 && isEscaped;
    if (quote === -1) return bytes.length;
    this.#inString = isEscaped;
    return quote + 1;
  }
}
