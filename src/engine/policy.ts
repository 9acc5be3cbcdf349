// SPDX-License-Identifier: Apache-2.0
// A loaded model: generates responses and scores texts, with many concurrent requests.
import { loadBinding } from './binding.ts';
import { EngineError, engineError, fromEngine, fromEngineNow } from './engine-error.ts';
import type { NativeEngineOptions, NativeInfo, NativePending, NativePolicy } from './native.ts';
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
  /** Normalisation of images; absent for a text-only model. */
  normalisation?: Normalisation;
}

/** Loads a model. Throws EngineError. */
export async function loadPolicy(options: PolicyOptions): Promise<Policy> {
  const { binding, device } = await bindingFor(options.device);
  return new Policy(await fromEngine(() => binding.Policy.load(nativeOptions(options, device))));
}

/** As the engine takes them. */
export function nativeOptions(options: PolicyOptions, device: 'cpu' | 'cuda'): NativeEngineOptions {
  return {
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
  };
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

/** One model in memory. close() ends it and cancels waiting requests. */
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

  /** The engine's object, for the trainer that shares the weights. */
  get native(): NativePolicy {
    return this.#native;
  }

  layout(shape: ImageShape): ImageLayout {
    return fromEngineNow(() => this.#native.layout(shape));
  }

  /** Planned and used memory, one item per line. */
  memoryPlan(): string {
    return this.#native.memoryPlan();
  }

  /** The responses to one prompt, in index order. Throws EngineError; its code is "cancelled" after an abort. */
  async generate(request: GenerateRequest, signal?: AbortSignal): Promise<Generated[]> {
    refuseAborted(signal);
    return this.#settled(this.#native.generate(request), signal);
  }

  /** Log-probability of each token of each branch. Throws EngineError as generate does. */
  async score(request: ScoreRequest, signal?: AbortSignal): Promise<Scored[]> {
    const { promptIds, images, branches } = request;
    const prompt = { parent: -1, ids: promptIds, images: Int32Array.from(images.keys()), scored: false };
    const scored = branches.map((ids) => ({ parent: 0, ids, images: new Int32Array(0), scored: true }));
    refuseAborted(signal);
    const results = await this.#settled(this.#native.score({ images, segments: [prompt, ...scored] }), signal);
    return results.map(({ perTokenLogps }) => perTokenLogps);
  }

  close(): Promise<void> {
    return fromEngine(() => this.#native.close());
  }

  async #settled<T>({ id, promise }: NativePending<T>, signal: AbortSignal | undefined): Promise<T> {
    const cancel = () => this.#native.cancel(id);
    signal?.addEventListener('abort', cancel, { once: true });
    try {
      return await promise;
    } catch (cause) {
      throw engineError(cause);
    } finally {
      signal?.removeEventListener('abort', cancel);
    }
  }
}

function refuseAborted(signal: AbortSignal | undefined): void {
  if (signal?.aborted) throw new EngineError('cancelled', 'the request was cancelled');
}

function policyInfo(info: NativeInfo): PolicyInfo {
  return {
    modelType: info.modelType,
    device: info.device,
    dtype: info.dtype,
    quantize: info.quantize,
    storedForm: info.storedForm,
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
