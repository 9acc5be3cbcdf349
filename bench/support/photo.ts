// SPDX-License-Identifier: Apache-2.0
// Pictures for timing.
import sharp from 'sharp';
import { randomStream } from '../../src/records/random.ts';

/** A JPEG of 640 x 480: waves, edges and sensor noise: about as many bytes as a photo of this size. */
export async function writePhoto(path: string, index: number): Promise<void> {
  const [width, height] = [640, 480];
  const random = randomStream(index, 'photo');
  const [a, b, c] = [10 + 40 * random.nextFloat(), 10 + 40 * random.nextFloat(), 20 + random.nextInt(60)];
  const data = new Uint8Array(width * height * 3);
  for (let i = 0; i < data.length; i++) {
    const [x, y] = [Math.floor(i / 3) % width, Math.floor(i / 3 / width)];
    const edge = (Math.floor(x / c) + Math.floor(y / c)) % 2 ? 25 : 0;
    data[i] = Math.min(
      Math.max(115 + 85 * Math.sin(x / (a + 9 * (i % 3)) + y / b) + edge + 12 * (random.nextFloat() - 0.5), 0),
      255,
    );
  }
  await sharp(data, { raw: { width, height, channels: 3 } })
    .jpeg({ quality: 90 })
    .toFile(path);
}
