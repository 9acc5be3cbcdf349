// SPDX-License-Identifier: Apache-2.0
// Converts ids to bytes and to text: Llama's and GPT-2's decoders.
import type { AddedToken } from './added-tokens.ts';

const BYTE_TOKEN = /^<0x([0-9A-Fa-f]{2})>$/;

/** The bytes each id adds to a text, [size]; special tokens add none. */
export function tokenBytes(
  definition: Record<string, unknown>,
  added: AddedToken[],
  special: Set<number>,
  size: number,
  idToToken: (id: number) => string | undefined,
): Uint8Array[] {
  const literal = new Set(added.map((token) => token.id));
  const byteLevel = usesByteLevel(definition.decoder) || usesByteLevel(definition.pre_tokenizer);
  const bytesOf = byteLevel ? byteLevelTable() : undefined;
  const utf8 = new TextEncoder();
  return Array.from({ length: size }, (_, id) => {
    const token = idToToken(id);
    if (token === undefined || special.has(id)) return new Uint8Array(0);
    if (literal.has(id)) return utf8.encode(token);
    if (bytesOf !== undefined)
      return Uint8Array.from([...token].flatMap((char) => bytesOf.get(char) ?? [...utf8.encode(char)]));
    const byte = BYTE_TOKEN.exec(token);
    return byte ? Uint8Array.of(Number.parseInt(byte[1]!, 16)) : utf8.encode(token.replaceAll('\u2581', ' '));
  });
}

// The library's decoder drops a byte order mark, so Llama's and GPT-2's decoders are done here, on bytes, as the Rust library does them:
// a run of byte tokens that is not UTF-8 gives one U+FFFD per byte; byte-level text one per broken sequence.
export function ownDecoder(
  decoder: unknown,
  bytes: Uint8Array[],
  idToToken: (id: number) => string,
): ((ids: number[]) => string) | undefined {
  const steps = decoderSteps(decoder);
  if (steps.length === 1 && steps[0]!.type === 'ByteLevel') {
    const lossy = new TextDecoder('utf-8', { ignoreBOM: true });
    return (ids) => lossy.decode(Buffer.concat(ids.map((id) => bytes[id]!)));
  }
  const kinds = steps.map((step) => step.type).join(' ');
  const llama = kinds === 'Replace ByteFallback Fuse Strip' || kinds === 'Replace ByteFallback Fuse';
  const blank = steps[0]?.content === ' ' && steps[0]?.pattern?.String === '\u2581';
  const strip = steps[3];
  if (!llama || !blank || (strip !== undefined && (strip.content !== ' ' || strip.start !== 1 || strip.stop !== 0)))
    return undefined;
  return (ids) => {
    const text = decodeByteRuns(ids, bytes, (id) => BYTE_TOKEN.test(idToToken(id)));
    return strip !== undefined && text.startsWith(' ') ? text.slice(1) : text;
  };
}

function decodeByteRuns(ids: number[], bytes: Uint8Array[], isByte: (id: number) => boolean): string {
  const exact = new TextDecoder('utf-8', { ignoreBOM: true, fatal: true });
  let text = '';
  for (let begin = 0; begin < ids.length; ) {
    let end = begin + 1;
    if (isByte(ids[begin]!)) while (end < ids.length && isByte(ids[end]!)) end++;
    const run = Buffer.concat(ids.slice(begin, end).map((id) => bytes[id]!));
    try {
      text += exact.decode(run);
    } catch {
      text += '\ufffd'.repeat(run.length);
    }
    begin = end;
  }
  return text;
}

interface DecoderStep {
  type?: string;
  decoders?: unknown[];
  content?: string;
  start?: number;
  stop?: number;
  pattern?: { String?: string };
}

function decoderSteps(decoder: unknown): DecoderStep[] {
  if (typeof decoder !== 'object' || decoder === null) return [];
  const step = decoder as DecoderStep;
  return step.type === 'Sequence' ? (step.decoders ?? []).flatMap(decoderSteps) : [step];
}

function usesByteLevel(step: unknown): boolean {
  if (typeof step !== 'object' || step === null) return false;
  const { type, decoders, pretokenizers } = step as { type?: unknown; decoders?: unknown[]; pretokenizers?: unknown[] };
  return type === 'ByteLevel' || [...(decoders ?? []), ...(pretokenizers ?? [])].some(usesByteLevel);
}

// GPT-2's printable stand-ins for the 256 bytes.
function byteLevelTable(): Map<string, number> {
  const table = new Map<string, number>();
  let next = 256;
  for (let byte = 0; byte < 256; byte++) {
    const printable = (byte >= 0x21 && byte <= 0x7e) || (byte >= 0xa1 && byte <= 0xac) || byte >= 0xae;
    table.set(String.fromCodePoint(printable ? byte : next++), byte);
  }
  return table;
}
