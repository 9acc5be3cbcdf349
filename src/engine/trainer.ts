// SPDX-License-Identifier: Apache-2.0
// A model in training: the native trainer over a loaded policy, and the files of a PEFT adapter.
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { readJsonObject } from '../text/json-file.ts';
import { newAdapterConfig, savedModules } from './adapter-config.ts';
import { loadBinding } from './binding.ts';
import { EngineError, engineError, fromEngine } from './engine-error.ts';
import { type LoraShapes, loraShapes, targetRegex } from './lora-shapes.ts';
import { mergeInto } from './merge.ts';
import type { NativeTrainer, NativeVolume } from './native.ts';
import type { Policy } from './policy.ts';
import type {
  LossNeeds,
  LossRow,
  MemoryPlan,
  RowSize,
  RowSums,
  StepResult,
  TrainerEngine,
  TrainerSettings,
  TrainRow,
} from './train-requests.ts';

const ADAPTER_FILE = 'adapter_model.safetensors';
const ADAPTER_CONFIG = 'adapter_config.json';
const STATE_FILE = 'optimizer.safetensors';
/** Memory allocated at the first step: image workers, work space of libraries, heap growth. */
export const LATER_BYTES = 64 * 2 ** 20;
/** Share of the free memory that a run without a limit may take. */
export const MEMORY_SHARE = 0.7;

/** Inputs of a loss. Throws EngineError{"config"} naming an unknown loss. */
export function lossNeeds(loss: string): Promise<LossNeeds> {
  return fromEngine(() => loadBinding('auto').binding.lossNeeds(loss));
}

export interface TrainerOptions {
  settings: TrainerSettings;
  /** PEFT directory of the initial adapter. */
  initAdapter?: string;
  /** The base model in adapter_config.json. */
  baseModel: string;
  /** Number of ranks, number of ranks on this machine, and whether they shard the optimizer's state (-1: if necessary). */
  ranks?: { size: number; localSize: number; zero: number };
  /** Maximum bytes of the process; undefined: the free memory of the machine or its control group. CPU only. */
  memoryLimit?: number;
}

/** Ends all ranks after a failure of this one. */
export function abortRanks(exitCode: number): void {
  loadBinding('auto').binding.abortRanks(exitCode);
}

/** Creates a trainer for a policy, and trains the policy's weights. */
export async function createTrainer(policy: Policy, options: TrainerOptions): Promise<Trainer> {
  const { binding } = loadBinding(policy.info.device);
  const { size, localSize, zero } = options.ranks ?? { size: 1, localSize: 1, zero: 0 };
  const memoryBudget = policy.info.device === 'cpu' ? (options.memoryLimit ?? spareMemory(localSize)) : 0;
  const { loraPatterns = [], ...given } = options.settings;
  const isPlain = targetRegex(given.loraTargets) === undefined && loraPatterns.length === 0;
  const paths = isPlain ? [] : await fromEngine(() => binding.linearPaths(policy.native));
  const shapes = isPlain ? NO_SHAPES : loraShapes(paths, { ...given, loraPatterns });
  const settings = {
    ...given,
    loraTargets: isPlain ? given.loraTargets : binding.linears(),
    ...shapes,
    ...{ memoryBudget, numRanks: size, zero },
  };
  const native = await fromEngine(() => binding.Trainer.create(policy.native, settings, options.initAdapter ?? ''));
  const start = await startConfig(options.initAdapter);
  const modules = paths.filter((_, index) => shapes.loraRanks[index]! > 0);
  return new Trainer(native, policy, { ...options, modules }, start);
}

const NO_SHAPES: LoraShapes = { loraRanks: [], loraAlphas: [] };

async function startConfig(dir: string | undefined): Promise<Record<string, unknown> | undefined> {
  return dir === undefined ? undefined : readJsonObject(join(dir, ADAPTER_CONFIG), 'checkpoint');
}

/** Rank and scale of the initial adapter, unless its patterns set others. Throws RunError{"checkpoint"}. */
export async function readAdapterShape(
  dir: string,
): Promise<Pick<TrainerSettings, 'loraR' | 'loraAlpha' | 'rslora' | 'loraTargets'>> {
  const path = join(dir, ADAPTER_CONFIG);
  const config = await readJsonObject(path, 'checkpoint');
  if (config === undefined) throw new EngineError('checkpoint', `${path}: expected a file, got none`);
  const { r = 8, lora_alpha: alpha = 8 } = config;
  if (typeof r !== 'number' || typeof alpha !== 'number')
    throw new EngineError('checkpoint', `${path}: expected numbers r and lora_alpha, got ${r} and ${alpha}`);
  // The adapter's tensors decide what is trained.
  return { loraR: r, loraAlpha: alpha, rslora: config.use_rslora === true, loraTargets: [] };
}

/** The share of one of `localSize` processes on this machine. */
function spareMemory(localSize: number): number {
  return (process.availableMemory() * MEMORY_SHARE) / localSize;
}

function limitTooSmall(limit: number, { activationBytes, largestBatch, level, budget }: MemoryPlan): EngineError {
  const mebibytes = (bytes: number) => `${Math.ceil(bytes / 2 ** 20)} MiB`;
  const other = limit - budget;
  return new EngineError(
    'memory',
    `--memory-limit: expected at least ${mebibytes(other + activationBytes)}: ${mebibytes(activationBytes)} for the activations of a micro-batch of ` +
      `${largestBatch} rows at recompute level ${level}, ${mebibytes(other)} for everything else; got ${mebibytes(limit)}. ` +
      'A smaller --batch-tokens needs less memory, down to one record per micro-batch',
  );
}

function fullDtype({ info }: Policy): 'f32' | 'f16' {
  return info.storedDtype === 'f16' ? 'f16' : 'f32';
}

export class Trainer implements TrainerEngine {
  readonly numTrained: number;
  readonly rank: number;
  readonly numRanks: number;
  /** Tensors of the initial adapter that are not trained, and written unchanged. */
  readonly numFixed: number;
  stepsDone = 0;
  readonly #native: NativeTrainer;
  readonly #policy: Policy;
  readonly #options: TrainerOptions & { modules: string[] };
  readonly #startConfig: Record<string, unknown> | undefined;

  constructor(
    native: NativeTrainer,
    policy: Policy,
    options: TrainerOptions & { modules: string[] },
    startConfig: Record<string, unknown> | undefined,
  ) {
    this.#native = native;
    this.#policy = policy;
    this.#options = options;
    this.#startConfig = startConfig;
    const { numTrained, rank, numRanks, numFixed } = native.info();
    this.numFixed = numFixed;
    this.numTrained = numTrained;
    this.rank = rank;
    this.numRanks = numRanks;
  }

  /** Whether the optimizer's state is sharded over the ranks, and their traffic so far. */
  communication(): NativeVolume & { zero: boolean } {
    const { zero, volume } = this.#native.info();
    return { zero, ...volume };
  }

  async agree(value: number): Promise<number> {
    return this.numRanks === 1 ? value : await fromEngine(() => this.#native.agree(value));
  }

  async exchange(text: string): Promise<string[]> {
    return this.numRanks === 1 ? [text] : await fromEngine(() => this.#native.exchange(text));
  }

  async leave(): Promise<void> {
    if (this.numRanks > 1) await fromEngine(() => this.#native.leave());
  }

  memoryPlan(): string {
    return this.#native.info().memoryPlan;
  }

  async plan(steps: readonly (readonly RowSize[])[]): Promise<MemoryPlan> {
    const sizes = steps.flatMap((rows) =>
      rows.flatMap(({ rows, targets, imageRows, features, pixelBytes }) => [
        rows,
        targets,
        imageRows,
        features,
        pixelBytes,
      ]),
    );
    let end = 0;
    const ends = Int32Array.from(steps, (rows) => {
      end += rows.length;
      return end;
    });
    const plan = await fromEngine(() => this.#native.plan(Int32Array.from(sizes), ends, this.#freeBytes()));
    const { memoryLimit } = this.#options;
    if (memoryLimit !== undefined && plan.activationBytes > plan.budget) throw limitTooSmall(memoryLimit, plan);
    return plan;
  }

  // Memory left for the engine's plan.
  #freeBytes(): number {
    if (this.#policy.info.device !== 'cpu') return Number.POSITIVE_INFINITY;
    const { memoryLimit, ranks } = this.#options;
    const free =
      memoryLimit === undefined ? spareMemory(ranks?.localSize ?? 1) : memoryLimit - process.memoryUsage.rss();
    return free - LATER_BYTES;
  }

  async step(rows: TrainRow[], signal?: AbortSignal): Promise<StepResult> {
    const cancel = () => this.#native.cancel();
    signal?.addEventListener('abort', cancel, { once: true });
    try {
      const result = await this.#native.step(rows);
      this.stepsDone += 1;
      return result;
    } catch (cause) {
      throw engineError(cause);
    } finally {
      signal?.removeEventListener('abort', cancel);
    }
  }

  score(rows: TrainRow[], adapterOn: boolean): Promise<RowSums[]> {
    return fromEngine(() => this.#native.score(rows, adapterOn));
  }

  meanLoss(rows: readonly LossRow[], referencePoint: number): Promise<number> {
    const { binding } = loadBinding(this.#policy.info.device);
    const native = rows.map(({ weight = 1, beta = 0, ...row }) => ({ ...row, weight, beta }));
    const points = { kl: referencePoint, rewardMean: this.#native.info().rewardMean };
    return fromEngine(() => binding.meanLoss(this.#options.settings, native, points));
  }

  async saveGradients(rows: TrainRow[], file: string): Promise<void> {
    await fromEngine(() => this.#native.saveGradients(rows, file));
  }

  async save(dir: string, { state }: { state: boolean }): Promise<void> {
    if (this.rank !== 0) {
      // The state is gathered from all ranks.
      if (state) await fromEngine(() => this.#native.saveState(join(dir, STATE_FILE)));
      return;
    }
    if (this.#options.settings.trainLanguageModel) {
      // The state includes the weights; the complete checkpoint is written once, at the end.
      if (!state)
        await mergeInto(this.#policy, this.#options.baseModel, {
          dir,
          dtype: fullDtype(this.#policy),
          trainedOn: 'none',
        });
      else await fromEngine(() => this.#native.saveState(join(dir, STATE_FILE)));
      return;
    }
    await fromEngine(() => this.#native.saveAdapter(join(dir, ADAPTER_FILE)));
    await writeFile(join(dir, ADAPTER_CONFIG), `${JSON.stringify(this.#adapterConfig(), null, 2)}\n`);
    if (state) await fromEngine(() => this.#native.saveState(join(dir, STATE_FILE)));
  }

  async restore(dir: string): Promise<void> {
    this.stepsDone = await fromEngine(() => this.#native.restore(join(dir, STATE_FILE)));
  }

  peakBytes(): number {
    if (this.#policy.info.device === 'cpu') return process.resourceUsage().maxRSS * 1024;
    return this.#native.info().peakBytes;
  }

  #adapterConfig(): Record<string, unknown> {
    const { baseModel, settings } = this.#options;
    const start = this.#startConfig;
    const trainsProjector = this.#native.info().trainsProjector;
    const { modules } = this.#policy.info;
    const fresh = newAdapterConfig(settings, modules.text, this.#options.modules);
    return {
      ...(start ?? fresh),
      ...(settings.loraDropout > 0 && { lora_dropout: settings.loraDropout }),
      base_model_name_or_path: baseModel,
      inference_mode: true,
      modules_to_save: savedModules(
        start?.modules_to_save,
        trainsProjector ? modules.connector : [],
        modules.connectorParts,
      ),
    };
  }
}
