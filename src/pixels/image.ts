// SPDX-License-Identifier: Apache-2.0
// An 8-bit RGB image in memory: the result of decoding, and the type of every pixel operation.

/** width x height pixels, row by row, three bytes each (red, green, blue); no padding between rows. */
export interface Image {
  width: number;
  height: number;
  data: Uint8Array;
}

/** Width and height in pixels. */
export interface Size {
  width: number;
  height: number;
}

/** The crops of an image of height x width, for a vision tower. */
export interface ModelImage {
  height: number;
  width: number;
  crops: Image[];
}

/** Red, green, blue, 0..255 each. */
export type Color = readonly [number, number, number];

export const BLACK: Color = [0, 0, 0];

/** An image with every pixel in `color`. */
export function createImage(width: number, height: number, color: Color = BLACK): Image {
  const data = new Uint8Array(width * height * 3);
  const [red, green, blue] = color;
  if (red === green && green === blue) data.fill(red);
  else {
    for (let i = 0; i < data.length; i += 3) {
      data[i] = red;
      data[i + 1] = green;
      data[i + 2] = blue;
    }
  }
  return { width, height, data };
}
