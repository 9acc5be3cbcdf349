// SPDX-License-Identifier: Apache-2.0
// Reads the header of an encoded image, without decoding it.

const EXIF_MARKS = ['Exif\0\0', 'eXIf', 'EXIF'].map((mark) => Buffer.from(mark, 'latin1'));

/** Whether the bytes contain an EXIF block, which may rotate the image. */
export function mayBeTurned(bytes: Buffer): boolean {
  return EXIF_MARKS.some((mark) => bytes.includes(mark));
}

/** Media type and size from the first bytes; undefined for TIFF, AVIF and other data. */
export function imageHeader(bytes: Buffer): { mediaType: string; width: number; height: number } | undefined {
  const ascii = (from: number, to: number) => bytes.toString('latin1', from, to);
  if (bytes.length >= 24 && ascii(1, 4) === 'PNG') {
    return { mediaType: 'image/png', width: bytes.readUInt32BE(16), height: bytes.readUInt32BE(20) };
  }
  if (bytes.length >= 10 && /^GIF8[79]a$/.test(ascii(0, 6))) {
    return { mediaType: 'image/gif', width: bytes.readUInt16LE(6), height: bytes.readUInt16LE(8) };
  }
  if (bytes.length >= 30 && ascii(0, 4) === 'RIFF' && ascii(8, 12) === 'WEBP') {
    return { mediaType: 'image/webp', ...webpSize(bytes, ascii(12, 16)) };
  }
  if (bytes.length >= 4 && bytes[0] === 0xff && bytes[1] === 0xd8)
    return { mediaType: 'image/jpeg', ...jpegSize(bytes) };
  return undefined;
}

function webpSize(bytes: Buffer, chunk: string): { width: number; height: number } {
  if (chunk === 'VP8X') return { width: 1 + bytes.readUIntLE(24, 3), height: 1 + bytes.readUIntLE(27, 3) };
  if (chunk === 'VP8L') {
    const packed = bytes.readUInt32LE(21);
    return { width: 1 + (packed & 0x3fff), height: 1 + ((packed >>> 14) & 0x3fff) };
  }
  return { width: bytes.readUInt16LE(26) & 0x3fff, height: bytes.readUInt16LE(28) & 0x3fff };
}

/** Walks the segments to the frame header (SOF0-15 without DHT, JPG and DAC). */
function jpegSize(bytes: Buffer): { width: number; height: number } {
  let at = 2;
  while (at + 9 <= bytes.length && bytes[at] === 0xff) {
    const marker = bytes[at + 1]!;
    if (marker >= 0xc0 && marker <= 0xcf && marker !== 0xc4 && marker !== 0xc8 && marker !== 0xcc) {
      return { width: bytes.readUInt16BE(at + 7), height: bytes.readUInt16BE(at + 5) };
    }
    at += marker === 0xff ? 1 : 2 + bytes.readUInt16BE(at + 2);
  }
  return { width: 0, height: 0 };
}
