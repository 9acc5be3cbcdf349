// SPDX-License-Identifier: Apache-2.0
// A JSON array as the only member of an object: {"data": [...]}. Read as the array, chunk by chunk.
import { CLOSE_BRACE } from '../../records/json-chars.ts';

const WRAPPERS = ['data', 'train', 'items', 'records', 'rows', 'examples', 'samples', 'instances'];
const OPENING = new RegExp(`^[\\s\\ufeff]*\\{\\s*"(${WRAPPERS.join('|')})"\\s*:\\s*(?=\\[)`);
const BLANK: ReadonlySet<number> = new Set([0x20, 0x09, 0x0a, 0x0d]);

/** The array's key, if the file begins with an object. */
export function wrapperName(head: Buffer): string | undefined {
  return OPENING.exec(head.toString())?.[1];
}

/** Whether the object is closed after its array. */
export interface Wrapper {
  isClosed: boolean;
}

/** The chunks with blanks instead of the text before the array, and without the closing brace. Line numbers stay. */
export async function* unwrapArray(chunks: AsyncIterable<Uint8Array>, wrapper: Wrapper): AsyncGenerator<Uint8Array> {
  let head: Buffer | undefined = Buffer.alloc(0);
  let held: Buffer = Buffer.alloc(0);
  for await (const chunk of chunks) {
    let bytes: Buffer = Buffer.from(chunk);
    if (head !== undefined) {
      head = Buffer.concat([head, bytes]);
      const opening = OPENING.exec(head.toString())?.[0];
      if (opening === undefined) continue;
      bytes = Buffer.concat([Buffer.from(opening.replace(/[^\n]/g, ' ')), head.subarray(Buffer.byteLength(opening))]);
      head = undefined;
    }
    const whole: Buffer = Buffer.concat([held, bytes]);
    const last = whole.findLastIndex((byte) => !BLANK.has(byte));
    yield whole.subarray(0, Math.max(last, 0));
    held = whole.subarray(Math.max(last, 0));
  }
  wrapper.isClosed = held[0] === CLOSE_BRACE;
  if (!wrapper.isClosed) yield held;
}
