// SPDX-License-Identifier: Apache-2.0
// A recipe that --op can name: its parameters, and a draw that turns them into operations on one image.
import type { Size } from '../../pixels/image.ts';
import type { Parameter } from '../../pixels/ops.ts';
import type { RandomStream } from '../../records/random.ts';
import type { ViewOp } from '../../records/record.ts';

/** A parameter on the command line: an operation's parameter, a range to draw from, or an optional one. */
export type RecipeParameter =
  | (Parameter & { optional?: true })
  | { kind: 'range'; min: number; max: number; default: readonly [number, number] };

/** A number to draw from [low, high). */
export interface Range {
  low: number;
  high: number;
}

export type RecipeValue = number | string | readonly number[] | Range;
export type RecipeValues = Readonly<Record<string, RecipeValue>>;

export interface Recipe {
  summary: string;
  /** Probability of applying it if `p` is not given; default 1. */
  probability?: number;
  parameters: Record<string, RecipeParameter>;
  /** The problem with a combination of valid values. */
  check?(values: RecipeValues): string | undefined;
  /** Operations with every parameter drawn, for an image of this size. */
  draw(size: Size, random: RandomStream, values: RecipeValues): ViewOp[];
}

export function isRange(value: RecipeValue | undefined): value is Range {
  return typeof value === 'object' && 'low' in value;
}

/** Uniform in [low, high). */
export function drawUniform(random: RandomStream, { low, high }: Range): number {
  return low + (high - low) * random.nextFloat();
}

/** True with probability p. */
export function drawChance(random: RandomStream, p: number): boolean {
  return random.nextFloat() < p;
}
