// SPDX-License-Identifier: Apache-2.0
// A worker thread of src/pixels/pool.ts: decodes, transforms and encodes images.
import { parentPort } from 'node:worker_threads';
import { loadImage } from '../pixels/decode.ts';
import { modelInput } from '../pixels/model-input.ts';
import { PixelError } from '../pixels/pixel-error.ts';
import type { PixelJobs, PixelReply, PixelRequest } from '../pixels/pool.ts';
import { augmentImages, replayImages } from '../stages/augment/image-files.ts';

const port = parentPort!;

type Result<K extends keyof PixelJobs> = PixelJobs[K]['result'];

port.on('message', async (request: PixelRequest) => {
  try {
    const result = await perform(request);
    const transfer =
      request.kind === 'modelInput' ? [(result as Result<'modelInput'>).image.data.buffer as ArrayBuffer] : [];
    port.postMessage({ result } satisfies PixelReply, transfer);
  } catch (error) {
    const { code = 'pixels', message } = error as { code?: string; message: string };
    const pixel = error instanceof PixelError && { subject: error.subject, expected: error.expected, got: error.got };
    port.postMessage({ error: { code, message, ...(pixel && { pixel }) } } satisfies PixelReply);
  }
});

async function perform(request: PixelRequest): Promise<unknown> {
  switch (request.kind) {
    case 'modelInput':
      return modelInputOf(request.job);
    case 'check':
      await loadImage(request.job.source);
      return undefined;
    case 'augment':
      return augmentImages(request.job);
    case 'replay':
      return replayImages(request.job);
  }
}

async function modelInputOf({ source, plan }: PixelJobs['modelInput']['job']): Promise<Result<'modelInput'>> {
  const picture = await loadImage(source);
  return { height: picture.height, width: picture.width, image: modelInput(picture, plan) };
}
