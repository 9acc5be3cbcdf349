// SPDX-License-Identifier: Apache-2.0
// An image in the form of the APIs: the file's bytes with their media type, re-encoded only if necessary.
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
  /** Hash of the bytes as read, hex. */
  sha256: string;
  /** Pixels; 0 if unknown from the header. */
  width: number;
  height: number;
}

/** Image limits of an API. */
export interface ImageLimits {
  mediaTypes: readonly string[];
  /** Maximum bytes of one image, before base64. */
  maxBytes: number;
  /** Maximum bytes of all images of a request, before base64. */
  maxTotalBytes?: number;
  /** Maximum pixels of the longer side. */
  maxSide?: number;
  /** The same for a request with more than so many images. */
  ofMany?: { count: number; maxSide: number };
}

/** The limits of each of `count` images of one request. */
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
 * The image as a part of a request. An image that the API refuses (BMP, TIFF, a file over its limits) is re-encoded. So is
 * an image with an EXIF orientation, because not every server applies the tag.
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

/** Changes of an image besides its encoding, for the cache key. */
export async function pictureChange(bytes: Buffer, { maxSide }: ImageLimits): Promise<string | undefined> {
  const { width = 0, height = 0 } = imageHeader(bytes) ?? {};
  const isLarge = maxSide !== undefined && Math.max(width, height) > maxSide;
  const changes = [(await isTurned(bytes)) && 'upright', isLarge && `side ${maxSide}`].filter(Boolean);
  return changes.length > 0 ? changes.join(', ') : undefined;
}

/** Whether the image has an EXIF orientation other than 1. */
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

/** Sides of JPEGs to try in turn, for images too large as PNG. */
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
