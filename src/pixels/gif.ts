// SPDX-License-Identifier: Apache-2.0
// The first frame of a GIF with the palette's colours under transparent pixels, as in PIL. Other decoders drop those colours.
import type { Image } from './image.ts';

/** The first frame on its canvas. Throws Error when the file ends early or does not follow GIF87a/GIF89a. */
export function decodeGif(bytes: Uint8Array, maxPixels: number): Image {
  const reader = new GifReader(bytes);
  const frame = reader.readFirstFrame();
  const width = Math.max(reader.canvasWidth, frame.left + frame.width);
  const height = Math.max(reader.canvasHeight, frame.top + frame.height);
  if (width * height > maxPixels || width * height === 0) throw new Error(`canvas of ${width} x ${height} pixels`);
  const indices = new Uint8Array(width * height).fill(frame.transparent ?? 0);
  const values = decodeLzw(frame.data, frame.minCodeSize, frame.width * frame.height);
  for (const [row, y] of frameRows(frame.height, frame.isInterlaced).entries()) {
    const from = row * frame.width;
    indices.set(values.subarray(from, from + frame.width), (frame.top + y) * width + frame.left);
  }
  return { width, height, data: applyPalette(indices, frame.palette) };
}

interface GifFrame {
  left: number;
  top: number;
  width: number;
  height: number;
  isInterlaced: boolean;
  /** RGB triples; without a palette the indices are grey levels. */
  palette?: Uint8Array;
  transparent?: number;
  minCodeSize: number;
  data: Uint8Array;
}

class GifReader {
  readonly canvasWidth: number;
  readonly canvasHeight: number;
  private readonly bytes: Uint8Array;
  private readonly globalPalette: Uint8Array | undefined;
  private at = 6;

  constructor(bytes: Uint8Array) {
    this.bytes = bytes;
    this.canvasWidth = this.uint16();
    this.canvasHeight = this.uint16();
    const flags = this.byte();
    this.at += 2;
    this.globalPalette = this.palette(flags);
  }

  readFirstFrame(): GifFrame {
    let transparent: number | undefined;
    for (;;) {
      const block = this.byte();
      if (block === 0x2c) return this.frame(transparent);
      if (block === 0x3b) throw new Error('no frame');
      if (block !== 0x21) continue;
      const isControl = this.byte() === 0xf9;
      const body = this.subBlocks();
      if (isControl && body.length >= 4) transparent = (body[0]! & 1) === 1 ? body[3]! : undefined;
    }
  }

  private frame(transparent: number | undefined): GifFrame {
    const [left, top, width, height] = [this.uint16(), this.uint16(), this.uint16(), this.uint16()];
    const flags = this.byte();
    const palette = this.palette(flags) ?? this.globalPalette;
    const minCodeSize = this.byte();
    if (minCodeSize < 1 || minCodeSize > 11) throw new Error(`code size ${minCodeSize}`);
    const frame = { left, top, width, height, isInterlaced: (flags & 0x40) !== 0, minCodeSize, data: this.subBlocks() };
    return { ...frame, ...(palette && { palette }), ...(transparent !== undefined && { transparent }) };
  }

  private palette(flags: number): Uint8Array | undefined {
    return (flags & 0x80) === 0 ? undefined : this.take(3 * 2 ** ((flags & 7) + 1));
  }

  private subBlocks(): Uint8Array {
    const parts: Uint8Array[] = [];
    for (let size = this.byte(); size > 0; size = this.byte()) parts.push(this.take(size));
    return Buffer.concat(parts);
  }

  private take(count: number): Uint8Array {
    if (this.at + count > this.bytes.length) throw new Error('unexpected end of GIF data');
    this.at += count;
    return this.bytes.subarray(this.at - count, this.at);
  }

  private byte(): number {
    return this.take(1)[0]!;
  }

  private uint16(): number {
    const [low, high] = this.take(2) as unknown as [number, number];
    return low + high * 256;
  }
}

/** The position of each stored row: interlaced files hold every 8th row first, then rows between. */
function frameRows(height: number, isInterlaced: boolean): number[] {
  const rows: number[] = [];
  const passes = isInterlaced
    ? ([
        [0, 8],
        [4, 8],
        [2, 4],
        [1, 2],
      ] as const)
    : ([[0, 1]] as const);
  for (const [start, step] of passes) for (let y = start; y < height; y += step) rows.push(y);
  return rows;
}

/** Variable-width LZW, least significant bit first, codes of at most 12 bits. */
function decodeLzw(data: Uint8Array, minCodeSize: number, numValues: number): Uint8Array {
  const clear = 1 << minCodeSize;
  const prefix = new Uint16Array(4096);
  const suffix = new Uint8Array(4096);
  const lengths = new Uint16Array(4096).fill(1, 0, clear);
  for (let code = 0; code < clear; code++) suffix[code] = code;
  const out = new Uint8Array(numValues);
  let [written, next, width, previous, bits, numBits, at] = [0, clear + 2, minCodeSize + 1, -1, 0, 0, 0];
  while (written < numValues) {
    while (numBits < width) {
      if (at === data.length) throw new Error('unexpected end of GIF data');
      bits |= data[at++]! << numBits;
      numBits += 8;
    }
    const code = bits & ((1 << width) - 1);
    bits >>>= width;
    numBits -= width;
    if (code === clear) {
      [next, width, previous] = [clear + 2, minCodeSize + 1, -1];
      continue;
    }
    if (code === clear + 1) throw new Error('unexpected end of GIF data');
    // A code not yet defined means the previous sequence plus its first value.
    if (code > next || (code === next && previous === -1)) throw new Error('bad GIF code');
    const isNew = code === next;
    const known = isNew ? previous : code;
    const length = lengths[known]! + (isNew ? 1 : 0);
    let first = known;
    let to = written + lengths[known]! - 1;
    for (; lengths[first]! > 1; first = prefix[first]!) out[to--] = suffix[first]!;
    out[to] = suffix[first]!;
    if (isNew) out[written + length - 1] = suffix[first]!;
    written += length;
    if (previous !== -1 && next < 4096) {
      prefix[next] = previous;
      suffix[next] = suffix[first]!;
      lengths[next] = lengths[previous]! + 1;
      next++;
      if (next === 1 << width && width < 12) width++;
    }
    previous = code;
  }
  return out;
}

function applyPalette(indices: Uint8Array, palette: Uint8Array | undefined): Uint8Array {
  const data = new Uint8Array(indices.length * 3);
  for (let i = 0; i < indices.length; i++) {
    const index = indices[i]!;
    for (let band = 0; band < 3; band++) data[i * 3 + band] = palette ? (palette[index * 3 + band] ?? 0) : index;
  }
  return data;
}
