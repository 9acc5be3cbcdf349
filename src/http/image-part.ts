// SPDX-License-Identifier: Apache-2.0
// An image as the APIs take it: the file's own bytes with their media type, never re-encoded unless they must be.
import { createHash } from 'node:crypto';
import { FieldError } from '../records/error.ts';
import { imageHeader, mayBeTurned } from '../records/image-header.ts';
import {
  describeBytes,
  IMAGE_EXPECTED,
  ImageSourceError,
  imageBytes,
  imageKind,
  sourceName,
} from '../records/image-source.ts';

export interface ImagePart {
  mediaType: string;
  base64: string;
  /** Of the bytes as read, hex. */
  sha256: string;
  /** Pixels; 0 if unknown from the header. */
  width: number;
  height: number;
}

/** Image limits of an API. */
export interface ImageLimits {
  mediaTypes: readonly string[];
  /** Of one image. */
  maxBytes: number;
  /** Of all images of a request, before base64. */
  maxTotalBytes?: number;
  /** Pixels of the longer side. */
  maxSide?: number;
  /** The same where a request holds more than so many images. */
  ofMany?: { count: number; maxSide: number };
}

/** The limits that hold for each of `count` images of one request. */
export function limitsOf(count: number, limits: ImageLimits): ImageLimits {
  const { maxTotalBytes = Number.POSITIVE_INFINITY, ofMany, maxSide } = limits;
  return {
    mediaTypes: limits.mediaTypes,
    maxBytes: Math.min(limits.maxBytes, Math.floor(maxTotalBytes / Math.max(1, count))),
    ...(maxSide === undefined ? {} : { maxSide: ofMany && count > ofMany.count ? ofMany.maxSide : maxSide }),
  };
}

/** Reads a record's image: a file path or a data: URI. Throws FieldError{"image"} naming `field`, such as images[0], and the file. */
export async function readImageBytes(image: string, field: string): Promise<Buffer> {
  try {
    return await imageBytes(image);
  } catch (cause) {
    if (!(cause instanceof ImageSourceError)) throw cause;
    throw new FieldError('image', field, cause.expected, `${sourceName(image)}: ${cause.got}`);
  }
}

/** All images of a request as its parts. `field` names the record's list, such as images. */
export function loadImageParts(images: readonly string[], limits: ImageLimits, field = 'images'): Promise<ImagePart[]> {
  const each = limitsOf(images.length, limits);
  return Promise.all(images.map((image, index) => loadImagePart(image, each, `${field}[${index}]`)));
}

/**
 * The image as a part of a request. What the API does not take (BMP, TIFF, a file over its limits) is re-encoded, and so is
 * a picture that only its EXIF tag turns upright: models are shown it upright, and not every server reads the tag.
 */
export async function loadImagePart(image: string, limits: ImageLimits, field: string): Promise<ImagePart> {
  const bytes = await readImageBytes(image, field);
  if (imageKind(bytes) === undefined)
    throw new FieldError('image', field, IMAGE_EXPECTED, `${sourceName(image)}: ${describeBytes(bytes)}`);
  const header = imageHeader(bytes);
  const sha256 = createHash('sha256').update(bytes).digest('hex');
  const name = image.startsWith('data:') ? 'a data: URI' : image;
  const isTaken =
    header !== undefined && limits.mediaTypes.includes(header.mediaType) && bytes.length <= limits.maxBytes;
  if (isTaken && (await pictureChange(bytes, limits)) === undefined)
    return { ...header, base64: bytes.toString('base64'), sha256 };
  return { ...(await encodeAnew(bytes, limits, { name, field })), sha256 };
}

/** What happens to a picture on its way beside its encoding: for the cache, which must know another picture. */
export async function pictureChange(bytes: Buffer, { maxSide }: ImageLimits): Promise<string | undefined> {
  const { width = 0, height = 0 } = imageHeader(bytes) ?? {};
  const isLarge = maxSide !== undefined && Math.max(width, height) > maxSide;
  const changes = [(await isTurned(bytes)) && 'upright', isLarge && `side ${maxSide}`].filter(Boolean);
  return changes.length > 0 ? changes.join(', ') : undefined;
}

/** Whether an orientation tag other than 1 says how to hold the picture. */
async function isTurned(bytes: Buffer): Promise<boolean> {
  if (!mayBeTurned(bytes)) return false;
  const { default: sharp } = await import('sharp');
  // An image that does not decode is sent unchanged: the server's error becomes the row's.
  const orientation = await sharp(bytes)
    .metadata()
    .then(
      (metadata) => metadata.orientation,
      () => undefined,
    );
  return (orientation ?? 1) > 1;
}

/** Sides of ever smaller JPEGs, for images too large as PNG. */
const JPEG_SIDES = [2048, 1536, 1024, 768, 512];

async function encodeAnew(bytes: Buffer, limits: ImageLimits, at: { name: string; field: string }) {
  const { default: sharp } = await import('sharp');
  const { maxSide = Number.POSITIVE_INFINITY } = limits;
  try {
    const upright = sharp(bytes, { failOn: 'error' }).rotate();
    const fitted = (side: number) =>
      Number.isFinite(side)
        ? upright.clone().resize({ width: side, height: side, fit: 'inside', withoutEnlargement: true })
        : upright.clone();
    const png = await fitted(maxSide).png().toBuffer({ resolveWithObject: true });
    if (png.data.length <= limits.maxBytes) return encoded('image/png', png);
    for (const side of JPEG_SIDES.filter((side) => side <= maxSide)) {
      const jpeg = await fitted(side).jpeg({ quality: 90 }).toBuffer({ resolveWithObject: true });
      if (jpeg.data.length <= limits.maxBytes) return encoded('image/jpeg', jpeg);
    }
    throw new Error(`no smaller than ${limits.maxBytes} bytes`);
  } catch (cause) {
    const got = `${at.name}: ${bytes.length === 0 ? 'an empty file' : `one that does not decode (${(cause as Error).message})`}`;
    throw new FieldError('image', at.field, 'an image that can be sent', got);
  }
}

function encoded(mediaType: string, made: { data: Buffer; info: { width: number; height: number } }) {
  return { mediaType, base64: made.data.toString('base64'), width: made.info.width, height: made.info.height };
}
