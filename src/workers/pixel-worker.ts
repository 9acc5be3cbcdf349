// SPDX-License-Identifier: Apache-2.0
// A worker thread of src/pixels/pool.ts: decodes, transforms and encodes images.
import { parentPort } from 'node:worker_threads';
import type { ImagePlan } from '../../families/family.ts';
import { familyNamed } from '../../families/index.ts';
import { loadImage } from '../pixels/decode.ts';
import type { ModelImage } from '../pixels/image.ts';
import { PixelError } from '../pixels/pixel-error.ts';
import type { PixelJobs, PixelReply, PixelRequest } from '../pixels/pool.ts';
import { writeViews } from '../stages/augment/image-files.ts';
import { replayView } from '../stages/augment/make-view.ts';

const port = parentPort!;

port.on('message', async (request: PixelRequest) => {
  try {
    const result = await perform(request);
    const crops = request.kind === 'modelInput' ? (result as ModelImage).crops : [];
    const transfer = crops.map(({ data }) => data.buffer as ArrayBuffer);
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
      return modelImage(request.job);
    case 'check':
      await loadImage(request.job.source);
      return undefined;
    case 'views':
      return writeViews(request.job);
  }
}

async function modelImage({ source, modelType, plan, ops = [] }: PixelJobs['modelInput']['job']): Promise<ModelImage> {
  const image = replayView(await loadImage(source), ops);
  const { height, width } = image;
  return { height, width, crops: familyNamed(modelType).vision!.crops(image, plan as ImagePlan) };
}
