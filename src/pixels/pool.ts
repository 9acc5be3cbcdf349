// SPDX-License-Identifier: Apache-2.0
// Worker threads for pixel work: one job per worker, started on demand, results as promises.
import { availableParallelism } from 'node:os';
import { Worker } from 'node:worker_threads';
import { RunError } from '../records/error.ts';
import type { ViewOp } from '../records/record.ts';
import type { ModelImage } from './image.ts';
import { PixelError } from './pixel-error.ts';

/** A job for src/workers/pixel-worker.ts and its result, by kind. */
export interface PixelJobs {
  /** An image's crops by the plan of the named family. `ops`: recorded operations of a view, applied first. */
  modelInput: {
    job: { source: string; modelType: string; plan: object; ops?: readonly ViewOp[] };
    result: ModelImage;
  };
  /** Resolves if the image decodes. */
  check: { job: { source: string }; result: undefined };
  views: { job: ViewsJob; result: ViewsResult };
}

/** Views of a record's images as files: in imageDir those that have files, in previewDir all. */
export interface ViewsJob {
  id: string;
  images: readonly string[];
  views: { name: string; ops: readonly ViewOp[]; hasFiles: boolean }[];
  imageDir?: string;
  previewDir?: string;
}

/** The image files of each view, if it has any. */
export type ViewsResult = (string[] | undefined)[];

export type PixelRequest = { [K in keyof PixelJobs]: { kind: K; job: PixelJobs[K]['job'] } }[keyof PixelJobs];

export type PixelReply =
  | { result: unknown }
  | { error: { code: string; message: string; pixel?: { subject: string; expected: string; got: string } } };

export interface PixelPool {
  /** Number of concurrent jobs. */
  readonly numThreads: number;
  /** Rejects with PixelError when an image or an operation is bad, RunError when a file cannot be written. */
  run<K extends keyof PixelJobs>(kind: K, job: PixelJobs[K]['job']): Promise<PixelJobs[K]['result']>;
  /** Ends the workers; rejects running and waiting jobs. */
  close(): Promise<void>;
}

interface Task {
  request: PixelRequest;
  resolve: (result: never) => void;
  reject: (error: unknown) => void;
}

/** A pool of `numThreads` workers, default one per core. Close it in try/finally; idle workers do not keep the process alive. */
export function createPixelPool(numThreads: number = availableParallelism()): PixelPool {
  const waiting: Task[] = [];
  const idle: Worker[] = [];
  const all = new Set<Worker>();
  const running = new Map<Worker, Task>();
  let isClosed = false;

  function start(): void {
    if (isClosed) return;
    while (waiting.length > 0 && (idle.length > 0 || all.size < numThreads)) {
      const worker = idle.pop() ?? spawn();
      const task = waiting.shift()!;
      running.set(worker, task);
      worker.ref();
      worker.postMessage(task.request);
    }
  }

  function spawn(): Worker {
    const worker = newWorker();
    all.add(worker);
    worker.on('message', (reply: PixelReply) => {
      const task = running.get(worker)!;
      running.delete(worker);
      // After close() the worker must keep the process alive until it ends, because nothing else does.
      if (!isClosed) {
        worker.unref();
        idle.push(worker);
      }
      if ('error' in reply) task.reject(errorOf(reply.error));
      else task.resolve(reply.result as never);
      start();
    });
    const lose = (reason: string) => {
      all.delete(worker);
      if (idle.includes(worker)) idle.splice(idle.indexOf(worker), 1);
      running.get(worker)?.reject(new RunError('pixel-worker', `a pixel worker ended: ${reason}`));
      running.delete(worker);
      start();
    };
    worker.on('error', (error) => lose(error.message));
    worker.on('exit', (code) => lose(`exit code ${code}`));
    return worker;
  }

  return {
    numThreads,
    run(kind, job) {
      return new Promise((resolve, reject) => {
        if (isClosed) reject(closedError());
        waiting.push({ request: { kind, job } as PixelRequest, resolve, reject });
        start();
      });
    },
    async close() {
      isClosed = true;
      for (const task of waiting.splice(0)) task.reject(closedError());
      for (const worker of all) worker.ref();
      await Promise.all([...all].map((worker) => worker.terminate()));
    },
  };
}

function closedError(): RunError {
  return new RunError('pixel-worker', 'the pixel workers were ended before this image was read');
}

function errorOf({ code, message, pixel }: Extract<PixelReply, { error: unknown }>['error']): Error {
  if (pixel === undefined) return new RunError(code, message);
  return new PixelError(code as 'image' | 'op', pixel.subject, pixel.expected, pixel.got);
}

// The bundle's workers are one folder below its root; .ts sources run under tsx, whose hooks a worker does not inherit.
function newWorker(): Worker {
  const isSource = import.meta.url.endsWith('.ts');
  const url = new URL(`../workers/pixel-worker.${isSource ? 'ts' : 'js'}`, import.meta.url);
  if (!isSource) return new Worker(url);
  const hooks = JSON.stringify(import.meta.resolve('tsx/esm/api'));
  const code = `import(${hooks}).then(({ register }) => { register(); return import(${JSON.stringify(url.href)}); });`;
  return new Worker(code, { eval: true });
}
