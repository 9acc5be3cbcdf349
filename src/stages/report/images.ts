// SPDX-License-Identifier: Apache-2.0
// The page's images, each stored once.
import type { ViewOp } from '../../records/record.ts';
import type { Picture } from './thumbnails.ts';

export class ImageList {
  /** Index by image and operations. */
  readonly #pictures = new Map<string, { place: number; picture: Picture }>();

  /** The index of an image, or of a view of it. */
  place(source: string, ops?: readonly ViewOp[]): number {
    const key = JSON.stringify([source, ops]);
    const known = this.#pictures.get(key) ?? { place: this.#pictures.size, picture: { source, ops } };
    this.#pictures.set(key, known);
    return known.place;
  }

  all(): Picture[] {
    return [...this.#pictures.values()].map(({ picture }) => picture);
  }
}
