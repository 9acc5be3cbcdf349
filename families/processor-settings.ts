// SPDX-License-Identifier: Apache-2.0
// Reads the settings of an image processor. An absent setting has its class default; an unsupported one is refused by name.
import type { ResizeFilter } from '../src/pixels/resize.ts';
import { RunError } from '../src/records/error.ts';
import type { CheckpointFiles, JsonObject, Normalisation } from './family.ts';

/** Pillow's numbers. */
const RESAMPLE: readonly ResizeFilter[] = ['nearest', 'lanczos', 'bilinear', 'bicubic', 'box', 'hamming'];

/** Flags common to all processors: convert to RGB, resize, rescale, normalise. */
const COMMON_FLAGS = ['do_resize', 'do_convert_rgb', 'do_rescale', 'do_normalize'];

export class ProcessorSettings {
  readonly #where: string;
  readonly #values: JsonObject;

  constructor(where: string, values: JsonObject) {
    this.#where = where;
    this.#values = values;
  }

  fail(key: string, expected: string): never {
    throw new RunError(
      'config',
      `${this.#where}: ${key}: expected ${expected}, got ${JSON.stringify(this.raw(key)) ?? 'nothing'}`,
    );
  }

  /** null counts as absent. */
  raw(key: string): unknown {
    return this.#values[key] ?? undefined;
  }

  boolean(key: string, otherwise: boolean): boolean {
    const value = this.raw(key) ?? otherwise;
    return typeof value === 'boolean' ? value : this.fail(key, 'true or false');
  }

  /** A whole number above 0. */
  count(key: string, otherwise?: number): number {
    const value = this.raw(key) ?? otherwise;
    return isCount(value) ? value : this.fail(key, 'a whole number above 0');
  }

  filter(otherwise: ResizeFilter): ResizeFilter {
    const value = this.raw('resample');
    return value === undefined ? otherwise : (RESAMPLE[value as number] ?? this.fail('resample', '0..5'));
  }

  /** The nested object of an object setting. */
  object(key: string): ProcessorSettings {
    const value = this.raw(key) ?? {};
    if (typeof value !== 'object' || Array.isArray(value)) this.fail(key, 'an object');
    return new ProcessorSettings(`${this.#where}: ${key}`, value as JsonObject);
  }

  /** The keys that have a value. */
  keys(): string[] {
    return Object.keys(this.#values).filter((key) => this.raw(key) !== undefined);
  }

  /** Throws unless each enabled do_* flag is a common one or in `others`, because an unknown one would change the pixels. */
  checkFlags(others: readonly string[]): void {
    for (const key of ['do_resize', 'do_convert_rgb']) if (!this.boolean(key, true)) this.fail(key, 'true');
    const known = [...COMMON_FLAGS, ...others];
    for (const key of this.keys())
      if (key.startsWith('do_') && !known.includes(key) && this.boolean(key, false)) this.fail(key, 'false');
  }

  normalisation(mean: Normalisation['mean'], std: Normalisation['std']): Normalisation {
    const scale = this.raw('rescale_factor') ?? 1 / 255;
    if (typeof scale !== 'number' || !Number.isFinite(scale)) this.fail('rescale_factor', 'a number');
    const made = { mean: this.three('image_mean', mean), std: this.three('image_std', std) };
    if (!made.std.every((value) => value > 0)) this.fail('image_std', 'positive numbers');
    return {
      ...(this.boolean('do_normalize', true) ? made : { mean: [0, 0, 0] as const, std: [1, 1, 1] as const }),
      scale: this.boolean('do_rescale', true) ? (scale as number) : 1,
    };
  }

  /** One number per channel. */
  three(key: string, otherwise: Normalisation['mean']): Normalisation['mean'] {
    const value = this.raw(key) ?? otherwise;
    const isThree = Array.isArray(value) && value.length === 3 && value.every((one) => Number.isFinite(one));
    return isThree ? (value as unknown as Normalisation['mean']) : this.fail(key, 'three numbers');
  }
}

/** The settings of the checkpoint's image processor. Throws unless its class is in `types`. */
export function imageProcessor(files: CheckpointFiles, types: RegExp, example: string): ProcessorSettings {
  const { dir, imageProcessor: values } = files;
  if (values === undefined)
    throw new RunError(
      'config',
      `${dir}: expected preprocessor_config.json, or processor_config.json with an image_processor, got neither`,
    );
  const settings = new ProcessorSettings(`${dir}: image processor`, values);
  const key = values.image_processor_type === undefined ? 'feature_extractor_type' : 'image_processor_type';
  const type = settings.raw(key);
  if (type !== undefined && !(typeof type === 'string' && types.test(type))) settings.fail(key, example);
  return settings;
}

/** config.json's vision_config. */
export function visionConfig({ dir, config }: CheckpointFiles): ProcessorSettings {
  return new ProcessorSettings(`${dir}/config.json`, config).object('vision_config');
}

/** processor_config.json beside the image processor's own settings. */
export function processorConfig({ dir, processor }: CheckpointFiles): ProcessorSettings {
  return new ProcessorSettings(`${dir}/processor_config.json`, processor);
}

/** Throws if a setting is present and differs from the model's config. */
export function demandEqual(settings: ProcessorSettings, key: string, value: number | string, source: string): void {
  const given = settings.raw(key);
  if (given !== undefined && given !== value) settings.fail(key, `${JSON.stringify(value)} as ${source} says`);
}

function isCount(value: unknown): value is number {
  return Number.isInteger(value) && (value as number) > 0;
}
