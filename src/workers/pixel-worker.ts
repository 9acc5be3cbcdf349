// SPDX-License-Identifier: Apache-2.0
// A worker thread of src/pixels/pool.ts: decodes, transforms and encodes images.
import { parentPort } from 'node:worker_threads';
import { loadImage } from '../pixels/decode.ts';
import { modelInput } from '../pixels/model-input.ts';
import { PixelError } from '../pixels/pixel-error.ts';
import type { PixelReply, PixelRequest } from '../pixels/pool.ts';
import { writeViews } from '../stages/augment/image-files.ts';
import { replayView } from '../stages/augment/make-view.ts';

const port = parentPort!;

port.on('message', async (request: PixelRequest) => {
  try {
    const result = await perform(request);
    const transfer = request.kind === 'modelInput' ? [(result as { data: Uint8Array<ArrayBuffer> }).data.buffer] : [];
    port.postMessage({ result } satisfies PixelReply, transfer);
  } catch (error) {
    const { code = 'pixels', message } = error as { code?: string; message: string };
    const pixel = error instanceof PixelError && { subject: error.subject, expected: error.expected, got: error.got };
    port.postMessage({ error: { code, message, ...(pixel && { pixel }) } } satisfies PixelReply);
  }
});

async function perform(request: PixelRequest): Promise<unknown> {
  switch (request.kind) {
    case 'modelInput': {
      const { source, plan, ops = [] } = request.job;
      return modelInput(replayView(await loadImage(source), ops), plan);
    }
    case 'check':
      await loadImage(request.job.source);
      return undefined;
    case 'views':
      return writeViews(request.job);
  }
}
