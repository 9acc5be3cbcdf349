// SPDX-License-Identifier: Apache-2.0
// A loaded model: generates answers and scores texts, many requests at a time.
import { loadBinding } from './binding.ts';
import { EngineError, engineError, fromEngine, fromEngineNow } from './engine-error.ts';
import type { NativeInfo, NativePending, NativePolicy } from './native.ts';
import type {
  Generated,
  GenerateRequest,
  ImageLayout,
  ImageShape,
  Normalisation,
  Pacing,
  PolicyEngine,
  PolicyInfo,
  Quantize,
  Scored,
  ScoreRequest,
} from './requests.ts';

export interface PolicyOptions {
  model: string;
  adapters: string[];
  device: 'auto' | 'cpu' | 'cuda';
  dtype: 'auto' | 'f32' | 'bf16';
  quantize?: Quantize;
  /** A file to read the packed weights from, or to write them to. */
  quantizeCache?: string;
  threads?: number;
  batchTokens?: number;
  /** Bytes of every token id; needed for stop strings. */
  tokenBytes: Uint8Array[];
  /** Of images; a text-only model needs none. */
  normalisation?: Normalisation;
}

/** Loads a model. Throws EngineError. */
export async function loadPolicy(options: PolicyOptions): Promise<Policy> {
  const { binding, device } = await bindingFor(options.device);
  const native = await fromEngine(() =>
    binding.Policy.load({
      modelDir: options.model,
      adapterDirs: options.adapters,
      device,
      dtype: options.dtype,
      quantize: options.quantize ?? 'none',
      quantizeCache: options.quantizeCache ?? '',
      threads: options.threads ?? 0,
      batchTokens: options.batchTokens ?? 0,
      tokenBytes: options.tokenBytes,
      ...(options.normalisation && { normalisation: options.normalisation }),
    }),
  );
  return new Policy(native);
}

// `auto` is the GPU if the CUDA build exists and its probe works, else the CPU.
async function bindingFor(device: PolicyOptions['device']) {
  const { binding } = loadBinding(device);
  if (device !== 'auto') return { binding, device };
  if (!binding.buildInfo().backends.includes('cuda')) return { binding, device: 'cpu' as const };
  const works = await fromEngine(() => binding.probeDevice('cuda')).then(
    () => true,
    () => false,
  );
  return { binding, device: works ? ('cuda' as const) : ('cpu' as const) };
}

/** One model in memory. close() ends it; requests that wait are then cancelled. */
export class Policy implements PolicyEngine {
  readonly info: PolicyInfo;
  readonly pacing: Pacing;
  readonly #native: NativePolicy;

  constructor(native: NativePolicy) {
    this.#native = native;
    this.info = policyInfo(native.info());
    this.pacing = {
      pace: (paced) => native.pace(paced),
      advance: () => fromEngine(() => native.advance()),
    };
  }

  /** The engine's own object, for the trainer that shares the weights. */
  get native(): NativePolicy {
    return this.#native;
  }

  layout(shape: ImageShape): ImageLayout {
    return fromEngineNow(() => this.#native.layout(shape));
  }

  /** What memory is planned and used, one item a line. */
  memoryPlan(): string {
    return this.#native.memoryPlan();
  }

  /** The answers to one prompt, in the order of their numbers. Throws EngineError; its code is "cancelled" after an abort. */
  async generate(request: GenerateRequest, signal?: AbortSignal): Promise<Generated[]> {
    return this.#request(() => this.#native.generate(request), signal);
  }

  /** Log-probability of each token of each branch. Throws EngineError as generate does. */
  async score(request: ScoreRequest, signal?: AbortSignal): Promise<Scored[]> {
    const { promptIds, images, branches } = request;
    const prompt = { parent: -1, ids: promptIds, images: Int32Array.from(images.keys()), scored: false };
    const scored = branches.map((ids) => ({ parent: 0, ids, images: new Int32Array(0), scored: true }));
    const results = await this.#request(() => this.#native.score({ images, segments: [prompt, ...scored] }), signal);
    return results.map(({ perTokenLogps }) => perTokenLogps);
  }

  close(): Promise<void> {
    return fromEngine(() => this.#native.close());
  }

  async #request<T>(start: () => NativePending<T>, signal: AbortSignal | undefined): Promise<T> {
    if (signal?.aborted) throw new EngineError('cancelled', 'the request was cancelled');
    let cancel: (() => void) | undefined;
    try {
      const { id, promise } = start();
      cancel = () => this.#native.cancel(id);
      signal?.addEventListener('abort', cancel, { once: true });
      return await promise;
    } catch (cause) {
      throw engineError(cause);
    } finally {
      if (cancel) signal?.removeEventListener('abort', cancel);
    }
  }
}

function policyInfo(info: NativeInfo): PolicyInfo {
  return {
    modelType: info.modelType,
    device: info.device,
    dtype: info.dtype,
    quantize: info.quantize,
    storedDtype: info.storedDtype,
    vocabSize: info.vocabSize,
    maxPositions: info.maxPositionEmbeddings,
    eosIds: [...info.eosTokenIds],
    numParameters: info.numParameters,
    threads: info.threads,
    notes: info.notes,
    modules: { text: info.textModule, connector: info.connectorModules, connectorParts: info.connectorParts },
    ...(info.hasVision && { vision: { imageTokenId: info.imageTokenId } }),
  };
}
