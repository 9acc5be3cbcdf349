// SPDX-License-Identifier: Apache-2.0
// Colour operations with Pillow's arithmetic (ImageEnhance, ImageOps, convert), as torchvision calls them.
import type { Image } from './image.ts';

/** 0 is black, 1 the image unchanged. */
export function adjustBrightness(image: Image, factor: number): Image {
  const table = blendTable(factor);
  return mapValues(image, (value) => blendValue(0, value, factor, table));
}

/** 0 is the mean grey, 1 the image unchanged. */
export function adjustContrast(image: Image, factor: number): Image {
  const { data } = image;
  let total = 0;
  for (let i = 0; i < data.length; i += 3) total += luma(data[i]!, data[i + 1]!, data[i + 2]!);
  const mean = Math.trunc(total / (data.length / 3) + 0.5);
  const table = blendTable(factor);
  return mapValues(image, (value) => blendValue(mean, value, factor, table));
}

/** 0 is grey, 1 the image unchanged. */
export function adjustSaturation(image: Image, factor: number): Image {
  const { data } = image;
  const out = new Uint8Array(data.length);
  const table = blendTable(factor);
  for (let i = 0; i < data.length; i += 3) {
    const grey = luma(data[i]!, data[i + 1]!, data[i + 2]!);
    out[i] = blendValue(grey, data[i]!, factor, table);
    out[i + 1] = blendValue(grey, data[i + 1]!, factor, table);
    out[i + 2] = blendValue(grey, data[i + 2]!, factor, table);
  }
  return { ...image, data: out };
}

/** 0 is a smoothed image, 1 the image unchanged, 2 twice as sharp. */
export function adjustSharpness(image: Image, factor: number): Image {
  const smooth = smoothImage(image);
  const { data } = image;
  const out = smooth.data;
  const table = blendTable(factor);
  for (let i = 0; i < data.length; i++) out[i] = blendValue(out[i]!, data[i]!, factor, table);
  return smooth;
}

/** Hue turned by `factor` of the colour circle, in [-0.5, 0.5], through 8-bit HSV as in Pillow. */
export function adjustHue(image: Image, factor: number): Image {
  const { data } = image;
  const out = new Uint8Array(data.length);
  const shift = Math.trunc(factor * 255) & 255;
  for (let i = 0; i < data.length; i += 3) {
    const red = data[i]!;
    const green = data[i + 1]!;
    const blue = data[i + 2]!;
    const value = Math.max(red, green, blue);
    const chroma = value - Math.min(red, green, blue);
    // As in Pillow, a saturation that rounds down to 0 loses its colour.
    const saturation = chroma === 0 ? 0 : (Math.fround(chroma / value) * 255) | 0;
    if (saturation === 0) setPixel(out, i, value, value, value);
    else writeHsv(out, i, (hueOf(red, green, blue, value, chroma) + shift) & 255, saturation, value);
  }
  return { ...image, data: out };
}

function hueOf(red: number, green: number, blue: number, max: number, chroma: number): number {
  const rc = Math.fround((max - red) / chroma);
  const gc = Math.fround((max - green) / chroma);
  const bc = Math.fround((max - blue) / chroma);
  const sector = red === max ? bc - gc : green === max ? 2 + rc - bc : 4 + gc - rc;
  const turned = Math.fround(sector) / 6 + 1;
  return (Math.fround(turned - Math.floor(turned)) * 255) | 0;
}

function writeHsv(out: Uint8Array, at: number, hue: number, saturation: number, value: number): void {
  const position = (hue * 6) / 255;
  const sector = position | 0;
  const fraction = Math.fround(position - sector);
  const share = Math.fround(saturation / 255);
  const p = (value * (1 - share) + 0.5) | 0;
  const q = (value * (1 - Math.fround(share * fraction)) + 0.5) | 0;
  const t = (value * (1 - share * (1 - fraction)) + 0.5) | 0;
  if (sector === 1) setPixel(out, at, q, value, p);
  else if (sector === 2) setPixel(out, at, p, value, t);
  else if (sector === 3) setPixel(out, at, p, q, value);
  else if (sector === 4) setPixel(out, at, t, p, value);
  else if (sector === 5) setPixel(out, at, value, p, q);
  else setPixel(out, at, value, t, p);
}

function setPixel(out: Uint8Array, at: number, red: number, green: number, blue: number): void {
  out[at] = red;
  out[at + 1] = green;
  out[at + 2] = blue;
}

/** Luma in all three channels. */
export function grayscaleImage(image: Image): Image {
  const { data } = image;
  const out = new Uint8Array(data.length);
  for (let i = 0; i < data.length; i += 3) {
    const grey = luma(data[i]!, data[i + 1]!, data[i + 2]!);
    setPixel(out, i, grey, grey, grey);
  }
  return { ...image, data: out };
}

export function invertImage(image: Image): Image {
  return mapValues(image, (value) => 255 - value);
}

/** Keeps the `bits` highest bits of each value. */
export function posterizeImage(image: Image, bits: number): Image {
  const mask = ~(2 ** (8 - bits) - 1);
  return mapValues(image, (value) => value & mask);
}

/** Inverts values at or above the threshold. */
export function solarizeImage(image: Image, threshold: number): Image {
  return mapValues(image, (value) => (value < threshold ? value : 255 - value));
}

/** Equalises each channel's histogram, in integer steps. */
export function equalizeImage(image: Image): Image {
  return mapChannels(image, (histogram) => {
    const used = histogram.filter((count) => count > 0);
    const step = Math.floor((used.reduce((sum, count) => sum + count, 0) - (used.at(-1) ?? 0)) / 255);
    if (used.length <= 1 || step === 0) return (value) => value;
    const before = new Float64Array(256);
    let sum = Math.floor(step / 2);
    for (let value = 0; value < 256; value++) {
      before[value] = sum;
      sum += histogram[value]!;
    }
    return (value) => Math.min(Math.floor(before[value]! / step), 255);
  });
}

/** Each channel stretched so that its lowest value is 0 and its highest 255. */
export function autocontrastImage(image: Image): Image {
  return mapChannels(image, (histogram) => {
    const low = histogram.findIndex((count) => count > 0);
    let high = 255;
    while (high > low && histogram[high] === 0) high--;
    if (high <= low) return (value) => value;
    const scale = 255 / (high - low);
    const offset = -low * scale;
    return (value) => Math.min(Math.max(Math.trunc(value * scale + offset), 0), 255);
  });
}

/** Rec. 601 luma in 16-bit fixed point, rounded. */
function luma(red: number, green: number, blue: number): number {
  return (red * 19595 + green * 38470 + blue * 7471 + 0x8000) >> 16;
}

/** 3x3 mean with weight 5 in the middle; edge pixels stay unchanged. */
function smoothImage(image: Image): Image {
  const { width, height, data } = image;
  const out = data.slice();
  if (width < 3 || height < 3) return { width, height, data: out };
  // sum / 13 rounded; a half cannot occur, so integers give the same as Pillow's floats.
  const means = Uint8Array.from({ length: 13 * 255 + 1 }, (_, sum) => Math.round(sum / 13));
  const stride = width * 3;
  const columns = new Int32Array(stride);
  for (let y = 1; y < height - 1; y++) {
    const row = y * stride;
    for (let i = 0, at = row; i < stride; i++, at++) columns[i] = data[at - stride]! + data[at]! + data[at + stride]!;
    for (let i = 3, at = row + 3; i < stride - 3; i++, at++) {
      out[at] = means[columns[i - 3]! + columns[i]! + columns[i + 3]! + 4 * data[at]!]!;
    }
  }
  return { width, height, data: out };
}

// Pillow's Image.blend: from + factor * (to - from) in 32-bit floats, truncated.

/** factor * difference for differences -255..255, rounded to 32-bit float. */
function blendTable(factor: number): Float32Array {
  const single = Math.fround(factor);
  return Float32Array.from({ length: 511 }, (_, i) => Math.fround(single * (i - 255)));
}

function blendValue(from: number, to: number, factor: number, table: Float32Array): number {
  if (factor === 0) return from;
  if (factor === 1) return to;
  const value = Math.fround(from + table[to - from + 255]!);
  return value <= 0 ? 0 : value >= 255 ? 255 : Math.trunc(value);
}

function mapValues(image: Image, map: (value: number) => number): Image {
  const table = Uint8Array.from({ length: 256 }, (_, value) => map(value));
  const { data } = image;
  const out = new Uint8Array(data.length);
  for (let i = 0; i < data.length; i++) out[i] = table[data[i]!]!;
  return { ...image, data: out };
}

function mapChannels(image: Image, mapOf: (histogram: number[]) => (value: number) => number): Image {
  const { data } = image;
  const counts = new Uint32Array(768);
  for (let i = 0; i < data.length; i += 3) {
    counts[data[i]!]!++;
    counts[256 + data[i + 1]!]!++;
    counts[512 + data[i + 2]!]!++;
  }
  const table = new Uint8Array(768);
  for (let channel = 0; channel < 768; channel += 256) {
    const map = mapOf([...counts.subarray(channel, channel + 256)]);
    for (let value = 0; value < 256; value++) table[channel + value] = map(value);
  }
  const out = new Uint8Array(data.length);
  for (let i = 0; i < data.length; i += 3) {
    out[i] = table[data[i]!]!;
    out[i + 1] = table[256 + data[i + 1]!]!;
    out[i + 2] = table[512 + data[i + 2]!]!;
  }
  return { ...image, data: out };
}
