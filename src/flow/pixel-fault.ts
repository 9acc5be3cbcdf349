// SPDX-License-Identifier: Apache-2.0
// Turns a bad image or recorded operation into an error of its record.

import { PixelError } from '../pixels/pixel-error.ts';
import { RecordError } from '../records/error.ts';
import { sourceName } from '../records/image-source.ts';
import type { Row } from './stage.ts';

/** The record's error for a PixelError (of the image at `index`, if known); returns other errors, such as a full disk, unchanged. */
export function pixelFault(row: Row, error: unknown, index?: number): unknown {
  if (!(error instanceof PixelError)) return error;
  const { code, subject, expected, got } = error;
  if (code === 'op') return new RecordError(row, `views: ${subject}`, expected, got);
  const place = index ?? row.record.images?.findIndex((image) => sourceName(image) === subject) ?? 0;
  return new RecordError(row, `images[${Math.max(place, 0)}]`, expected, `${subject}: ${got}`);
}
