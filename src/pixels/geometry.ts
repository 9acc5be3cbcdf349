// SPDX-License-Identifier: Apache-2.0
// Crops, flips, borders, rotation, shear and perspective as in torchvision on Pillow images.
import { type TransformFilter, transformAffine, transformPerspective } from './affine.ts';
import { BLACK, type Color, createImage, type Image, type Size } from './image.ts';
import { PixelError } from './pixel-error.ts';

/** The crop at (left, top); black outside the image. */
export function cropImage(image: Image, left: number, top: number, width: number, height: number): Image {
  const out = createImage(width, height);
  const fromX = Math.max(left, 0);
  const endX = Math.min(left + width, image.width);
  if (endX <= fromX) return out;
  for (let y = Math.max(top, 0); y < Math.min(top + height, image.height); y++) {
    const from = (y * image.width + fromX) * 3;
    out.data.set(image.data.subarray(from, from + (endX - fromX) * 3), ((y - top) * width + fromX - left) * 3);
  }
  return out;
}

/** Mirrored left to right. */
export function flipHorizontal(image: Image): Image {
  const { width, height, data } = image;
  const out = new Uint8Array(data.length);
  for (let y = 0; y < height; y++) {
    let from = (y * width + width - 1) * 3;
    for (let to = y * width * 3, end = to + width * 3; to < end; to += 3, from -= 3) {
      out[to] = data[from]!;
      out[to + 1] = data[from + 1]!;
      out[to + 2] = data[from + 2]!;
    }
  }
  return { width, height, data: out };
}

/** Turned upside down. */
export function flipVertical(image: Image): Image {
  const stride = image.width * 3;
  const data = new Uint8Array(image.data.length);
  for (let y = 0; y < image.height; y++) {
    data.set(image.data.subarray(y * stride, (y + 1) * stride), (image.height - 1 - y) * stride);
  }
  return { ...image, data };
}

export const BORDER_MODES = ['constant', 'edge', 'reflect', 'symmetric'] as const;
export type BorderMode = (typeof BORDER_MODES)[number];

/** Pixels to add on each side. */
export interface Border {
  left: number;
  top: number;
  right: number;
  bottom: number;
}

/** The image with a border: a colour, or numpy.pad's mode of that name. */
export function padImage(image: Image, border: Border, mode: BorderMode = 'constant', fill: Color = BLACK): Image {
  const width = image.width + border.left + border.right;
  const height = image.height + border.top + border.bottom;
  const out = createImage(width, height, fill);
  if (mode === 'constant') return pasteImage(out, image, border.left, border.top);
  const columns = continuation(image.width, border.left, width, mode);
  const rows = continuation(image.height, border.top, height, mode);
  for (let y = 0; y < height; y++) {
    for (let x = 0, to = y * width * 3; x < width; x++, to += 3) {
      const from = (rows[y]! * image.width + columns[x]!) * 3;
      out.data[to] = image.data[from]!;
      out.data[to + 1] = image.data[from + 1]!;
      out.data[to + 2] = image.data[from + 2]!;
    }
  }
  return out;
}

function pasteImage(out: Image, image: Image, left: number, top: number): Image {
  const stride = image.width * 3;
  for (let y = 0; y < image.height; y++) {
    out.data.set(image.data.subarray(y * stride, (y + 1) * stride), ((y + top) * out.width + left) * 3);
  }
  return out;
}

/** For each output position the source position. */
function continuation(
  size: number,
  before: number,
  outSize: number,
  mode: Exclude<BorderMode, 'constant'>,
): Int32Array {
  return Int32Array.from({ length: outSize }, (_, i) => {
    const at = i - before;
    if (at >= 0 && at < size) return at;
    if (mode === 'edge') return at < 0 ? 0 : size - 1;
    if (size === 1) return 0;
    const period = mode === 'reflect' ? 2 * (size - 1) : 2 * size;
    const place = ((at % period) + period) % period;
    return place < size ? place : (mode === 'reflect' ? period : period - 1) - place;
  });
}

export interface TransformOptions {
  filter?: TransformFilter;
  fill?: Color;
}

/** Turned counter-clockwise about the centre; with `expand` the canvas grows to fit. */
export function rotateImage(
  image: Image,
  degrees: number,
  { filter = 'nearest', fill = BLACK, expand = false }: TransformOptions & { expand?: boolean } = {},
): Image {
  const { width, height } = image;
  const angle = ((degrees % 360) + 360) % 360;
  if (angle === 0) return { ...image, data: image.data.slice() };
  if (angle === 180) return flipVertical(flipHorizontal(image));
  if ((angle === 90 || angle === 270) && (expand || width === height)) return quarterTurn(image, angle);

  const { cos, sin, place } = rotation(angle);
  const out = expand ? rotatedSize(image, degrees) : image;
  let [c, f] = originOf(image, place);
  if (expand) [c, f] = place(-(out.width - width) / 2, -(out.height - height) / 2, c, f);
  return transformAffine(image, out.width, out.height, [cos, sin, c, -sin, cos, f], filter, fill);
}

/** The canvas that fits a rotated image. */
export function rotatedSize(image: Size, degrees: number): Size {
  const { width, height } = image;
  const angle = ((degrees % 360) + 360) % 360;
  if (angle === 0 || angle === 180) return { width, height };
  if (angle === 90 || angle === 270) return { width: height, height: width };
  const { place } = rotation(angle);
  const [c, f] = originOf(image, place);
  const corners = [place(0, 0, c, f), place(width, 0, c, f), place(width, height, c, f), place(0, height, c, f)];
  const xs = corners.map(([x]) => x);
  const ys = corners.map(([, y]) => y);
  return {
    width: Math.ceil(Math.max(...xs)) - Math.floor(Math.min(...xs)),
    height: Math.ceil(Math.max(...ys)) - Math.floor(Math.min(...ys)),
  };
}

type Place = (x: number, y: number, c: number, f: number) => [number, number];

function rotation(angle: number): { cos: number; sin: number; place: Place } {
  const radians = -angle * (Math.PI / 180);
  const cos = roundTo15(Math.cos(radians));
  const sin = roundTo15(Math.sin(radians));
  return { cos, sin, place: (x, y, c, f) => [cos * x + sin * y + c, -sin * x + cos * y + f] };
}

// Source position of the rotated image's first pixel.
function originOf({ width, height }: Size, place: Place): [number, number] {
  const [c, f] = place(-width / 2, -height / 2, 0, 0);
  return [c + width / 2, f + height / 2];
}

function quarterTurn(image: Image, angle: 90 | 270): Image {
  const { width, height, data } = image;
  const out = new Uint8Array(data.length);
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      const from = (y * width + x) * 3;
      const to = angle === 90 ? ((width - 1 - x) * height + y) * 3 : (x * height + height - 1 - y) * 3;
      out[to] = data[from]!;
      out[to + 1] = data[from + 1]!;
      out[to + 2] = data[from + 2]!;
    }
  }
  return { width: height, height: width, data: out };
}

// Python's round(x, 15).
function roundTo15(value: number): number {
  return Number(value.toFixed(15));
}

/** Rotation clockwise, then translation in pixels, scale and shear (degrees), about `center`. */
export interface AffineParameters {
  degrees: number;
  translateX: number;
  translateY: number;
  scale: number;
  shearX: number;
  shearY: number;
  /** Default: the middle of the image. */
  center?: readonly [number, number];
}

/** torchvision's affine. */
export function affineImage(image: Image, parameters: AffineParameters, options: TransformOptions = {}): Image {
  const center = parameters.center ?? [image.width * 0.5, image.height * 0.5];
  const matrix = inverseAffineMatrix(parameters, center);
  return transformAffine(image, image.width, image.height, matrix, options.filter ?? 'nearest', options.fill ?? BLACK);
}

// Inverse of T C R S C^-1 (translation, centre, rotation, scale with shear), as torchvision writes it out.
function inverseAffineMatrix(
  { degrees, translateX, translateY, scale, shearX, shearY }: AffineParameters,
  [centerX, centerY]: readonly [number, number],
): [number, number, number, number, number, number] {
  const rotation = toRadians(degrees);
  const sx = toRadians(shearX);
  const sy = toRadians(shearY);
  const a = Math.cos(rotation - sy) / Math.cos(sy);
  const b = (-Math.cos(rotation - sy) * Math.tan(sx)) / Math.cos(sy) - Math.sin(rotation);
  const c = Math.sin(rotation - sy) / Math.cos(sy);
  const d = (-Math.sin(rotation - sy) * Math.tan(sx)) / Math.cos(sy) + Math.cos(rotation);
  const [m0, m1, m3, m4] = [d / scale, -b / scale, -c / scale, a / scale];
  const offsetX = 0 / scale + (m0 * (-centerX - translateX) + m1 * (-centerY - translateY));
  const offsetY = 0 / scale + (m3 * (-centerX - translateX) + m4 * (-centerY - translateY));
  return [m0, m1, offsetX + centerX, m3, m4, offsetY + centerY];
}

function toRadians(degrees: number): number {
  return degrees * (Math.PI / 180);
}

/** Positions of the top-left, top-right, bottom-right and bottom-left corner: x, y, x, y, ... */
export type Corners = readonly [number, number, number, number, number, number, number, number];

/** Whether an image can be mapped onto the corners: no three in a line. */
export function isPerspective(corners: Corners): boolean {
  return [0, 2, 4, 6].every((at) => {
    const [x0, y0, x1, y1, x2, y2] = [0, 1, 2, 3, 4, 5].map((i) => corners[(at + i) % 8]!) as [
      number,
      number,
      number,
      number,
      number,
      number,
    ];
    return (x1 - x0) * (y2 - y0) !== (x2 - x0) * (y1 - y0);
  });
}

/** torchvision's perspective: the image's corner pixels move to `corners`. */
export function perspectiveImage(image: Image, corners: Corners, options: TransformOptions = {}): Image {
  const { width, height } = image;
  if (!isPerspective(corners) || Math.min(width, height) < 2)
    throw new PixelError(
      'op',
      'perspective',
      'four corners, no three in a line, and an image of 2 x 2 pixels or more',
      `${corners.join('/')} for ${width} x ${height}`,
    );
  const start = [0, 0, width - 1, 0, width - 1, height - 1, 0, height - 1];
  const coefficients = perspectiveCoefficients(start, corners);
  return transformPerspective(image, width, height, coefficients, options.filter ?? 'bilinear', options.fill ?? BLACK);
}

// The eight unknowns of the map from `corners` back to `start`, rounded to 32-bit floats as torchvision does.
function perspectiveCoefficients(start: readonly number[], corners: readonly number[]): number[] {
  const rows: number[][] = [];
  for (let i = 0; i < 8; i += 2) {
    const [x, y, startX, startY] = [corners[i]!, corners[i + 1]!, start[i]!, start[i + 1]!];
    rows.push([x, y, 1, 0, 0, 0, -startX * x, -startX * y, startX]);
    rows.push([0, 0, 0, x, y, 1, -startY * x, -startY * y, startY]);
  }
  return solveLinear(rows).map(Math.fround);
}

// Gauss-Jordan with row pivoting on [A | b].
function solveLinear(rows: number[][]): number[] {
  const n = rows.length;
  for (let column = 0; column < n; column++) {
    let pivot = column;
    for (let r = column + 1; r < n; r++) {
      if (Math.abs(rows[r]![column]!) > Math.abs(rows[pivot]![column]!)) pivot = r;
    }
    [rows[column], rows[pivot]] = [rows[pivot]!, rows[column]!];
    const head = rows[column]!;
    for (let r = 0; r < n; r++) {
      if (r === column) continue;
      const factor = rows[r]![column]! / head[column]!;
      for (let k = column; k <= n; k++) rows[r]![k]! -= factor * head[k]!;
    }
  }
  return rows.map((row, i) => row[n]! / row[i]!);
}
