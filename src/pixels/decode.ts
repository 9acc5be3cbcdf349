// SPDX-License-Identifier: Apache-2.0
// Image files to RGB pixels as by PIL's open + exif_transpose + convert('RGB'), and RGB pixels to files.
// sharp decodes and encodes. This file handles the cases where it differs from PIL (CMYK, 16-bit grey, GIF transparency).
import type { Sharp, SharpOptions } from 'sharp';
import {
  checkImageSource,
  describeBytes,
  IMAGE_EXPECTED,
  ImageSourceError,
  imageBytes,
  imageKind,
  sourceName,
} from '../records/image-source.ts';
import { decodeGif } from './gif.ts';
import type { Image } from './image.ts';
import { PixelError } from './pixel-error.ts';

/** PIL refuses larger images as decompression bombs. */
const MAX_PIXELS = 178_956_970;

/** The image at a path or in a data: URI. Throws PixelError. */
export async function loadImage(source: string): Promise<Image> {
  return decodeImage(await named(source, imageBytes(source)), sourceName(source));
}

/** Throws PixelError for a missing file. Only decoding checks a data: URI and a file's content. */
export function checkImageFile(source: string): Promise<void> {
  return named(source, checkImageSource(source));
}

/** The unchanged bytes of an image's file or data: URI. Throws PixelError. */
export function encodedImage(source: string): Promise<Uint8Array> {
  return named(source, imageBytes(source));
}

function named<T>(source: string, work: Promise<T>): Promise<T> {
  return work.catch((cause) => {
    if (!(cause instanceof ImageSourceError)) throw cause;
    throw new PixelError('image', sourceName(source), cause.expected, cause.got, { cause });
  });
}

/** The first frame of an encoded image: EXIF orientation applied, alpha dropped (not composited), 8 bits per channel. */
export async function decodeImage(bytes: Uint8Array, name: string): Promise<Image> {
  const format = imageKind(bytes)?.name;
  if (format === undefined) throw new PixelError('image', name, IMAGE_EXPECTED, describeBytes(bytes));
  try {
    if (format === 'GIF') return decodeGif(bytes, MAX_PIXELS);
    const open = await openWithSharp();
    const metadata = await open(bytes).metadata();
    if (metadata.space === 'cmyk') return await decodeCmyk(open(bytes));
    // PIL clips a 16-bit grey PNG with a transparent level, and scales one with an alpha channel.
    const isPlainGray = metadata.channels === 1 || (format === 'PNG' && bytes[25] === 0);
    if (metadata.space === 'grey16' && isPlainGray) return await decodeGray16(open(bytes));
    return await decodeRgb(open(bytes));
  } catch (cause) {
    const message = decodeFault(format, cause);
    throw new PixelError('image', name, `a whole ${format} image`, `one that does not decode (${message})`, { cause });
  }
}

/** libvips collects messages per process, so with several bad images its text is not reproducible. */
function decodeFault(format: string, cause: unknown): string {
  const message = cause instanceof Error ? cause.message : String(cause);
  if (format === 'GIF') return message;
  return /pixel limit/.test(message) ? `more than ${MAX_PIXELS} pixels` : 'broken, or cut short';
}

/** The image as a PNG file; the same pixels give the same bytes. */
export async function encodePng(image: Image): Promise<Uint8Array> {
  const { default: sharp } = await import('sharp');
  const { width, height, data } = image;
  // Level 2 is twice as fast as the default 6 and gives files 1 % larger.
  return sharp(data, { raw: { width, height, channels: 3 } })
    .png({ compressionLevel: 2, adaptiveFiltering: true })
    .toBuffer();
}

async function openWithSharp(): Promise<(bytes: Uint8Array) => Sharp> {
  const { default: sharp } = await import('sharp');
  // As in PIL, applies the orientation and ignores an embedded colour profile.
  const options: SharpOptions = {
    failOn: 'error',
    ignoreIcc: true,
    autoOrient: true,
    limitInputPixels: MAX_PIXELS,
    sequentialRead: true,
  };
  return (bytes) => sharp(bytes, options);
}

async function decodeRgb(input: Sharp): Promise<Image> {
  const { data, info } = await input.toColourspace('srgb').removeAlpha().raw().toBuffer({ resolveWithObject: true });
  if (info.channels !== 3) throw new Error(`decoded to ${info.channels} channels`);
  return {
    width: info.width,
    height: info.height,
    data: new Uint8Array(data.buffer, data.byteOffset, data.byteLength),
  };
}

// PIL clips 16-bit grey at 255 instead of scaling it.
async function decodeGray16(input: Sharp): Promise<Image> {
  const { data, info } = await input
    .pipelineColourspace('grey16')
    .toColourspace('grey16')
    .raw({ depth: 'ushort' })
    .toBuffer({ resolveWithObject: true });
  const values = new Uint16Array(data.buffer, data.byteOffset, data.byteLength / 2);
  const out = new Uint8Array(info.width * info.height * 3);
  for (let i = 0; i < out.length; i += 3) out.fill(Math.min(values[(i / 3) * info.channels]!, 255), i, i + 3);
  return { width: info.width, height: info.height, data: out };
}

// PIL's CMYK to RGB: no profile; each channel is (255 - ink) scaled by (255 - black).
async function decodeCmyk(input: Sharp): Promise<Image> {
  const { data, info } = await input
    .pipelineColourspace('cmyk')
    .toColourspace('cmyk')
    .raw()
    .toBuffer({ resolveWithObject: true });
  const numPixels = info.width * info.height;
  const out = new Uint8Array(numPixels * 3);
  for (let i = 0; i < numPixels; i++) {
    const light = 255 - data[i * info.channels + 3]!;
    for (let ink = 0; ink < 3; ink++) {
      const product = data[i * info.channels + ink]! * light + 128;
      out[i * 3 + ink] = Math.max(light - (((product >> 8) + product) >> 8), 0);
    }
  }
  return { width: info.width, height: info.height, data: out };
}
