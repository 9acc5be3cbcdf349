// SPDX-License-Identifier: Apache-2.0
// Parses --op: NAME[:k=v,...], chained with `+` into one view.
import { parameterProblem } from '../../pixels/ops.ts';
import { UsageError } from '../../records/error.ts';
import { ORIGINAL_VIEW } from '../../records/view.ts';
import type { Range, RecipeParameter, RecipeValue } from './recipe.ts';
import { RECIPES } from './recipes.ts';

/** One recipe with its parameters. */
export interface StepSpec {
  recipe: string;
  /** Probability of applying it. */
  p: number;
  values: Record<string, RecipeValue>;
}

/** One view to make. */
export interface ViewSpec {
  name: string;
  steps: StepSpec[];
}

/**
 * Views from the values of --op, in order. A view's name is `name=`, else its recipes joined by `+`;
 * a name that is taken gets -2, -3, ... Throws UsageError.
 */
export function parseViewSpecs(texts: readonly string[]): ViewSpec[] {
  const views: ViewSpec[] = [];
  for (const text of texts) {
    const { name, steps } = parseViewSpec(text);
    const isTaken = (candidate: string) => views.some((view) => view.name === candidate);
    if (name !== undefined && isTaken(name)) throw usage(text, `each view name once`, `${name} twice`);
    const base = name ?? steps.map(({ recipe }) => recipe).join('+');
    let free = base;
    for (let count = 2; isTaken(free); count++) free = `${base}-${count}`;
    views.push({ name: free, steps });
  }
  return views;
}

function parseViewSpec(text: string): { name: string | undefined; steps: StepSpec[] } {
  let name: string | undefined;
  const steps = text.split('+').map((part) => {
    const { viewName, ...step } = parseStep(text, part);
    if (viewName !== undefined) name = viewName;
    return step;
  });
  const noiseAt = steps.findIndex(({ recipe }) => recipe === 'diffusion');
  if (noiseAt !== -1 && noiseAt !== steps.length - 1)
    throw usage(text, 'diffusion last: it works on the normalised tensor', `${steps[noiseAt + 1]!.recipe} after it`);
  return { name, steps };
}

function parseStep(text: string, part: string): StepSpec & { viewName?: string } {
  const colon = part.indexOf(':');
  const recipeName = (colon === -1 ? part : part.slice(0, colon)).trim();
  const recipe = RECIPES.get(recipeName);
  if (recipe === undefined) throw usage(text, `one of ${[...RECIPES.keys()].join(' ')}`, JSON.stringify(recipeName));
  const values: Record<string, RecipeValue> = {};
  const step: StepSpec & { viewName?: string } = { recipe: recipeName, p: recipe.probability ?? 1, values };
  for (const pair of colon === -1 ? [] : part.slice(colon + 1).split(',')) {
    const [key, value] = splitPair(text, pair);
    const parameter = recipe.parameters[key];
    if (key === 'name') step.viewName = viewName(text, value);
    else if (key === 'p') step.p = chance(text, value);
    else if (parameter !== undefined && Object.hasOwn(recipe.parameters, key))
      values[key] = parseValue(text, key, parameter, value);
    else throw usage(text, `${recipeName} with ${[...Object.keys(recipe.parameters), 'p', 'name'].join(' ')}`, key);
  }
  fillDefaults(text, recipeName, recipe.parameters, values);
  const problem = recipe.check?.(values);
  if (problem !== undefined) throw new UsageError(`--op ${text}: ${problem}`);
  return step;
}

function chance(text: string, value: string): number {
  const p = toNumber(value);
  if (!(p >= 0 && p <= 1)) throw usage(text, 'p: a number in 0..1', JSON.stringify(value));
  return p;
}

function splitPair(text: string, pair: string): [key: string, value: string] {
  const equals = pair.indexOf('=');
  if (equals < 1) throw usage(text, 'parameters as k=v,k=v', JSON.stringify(pair));
  return [pair.slice(0, equals).trim().replaceAll('-', '_'), pair.slice(equals + 1).trim()];
}

function viewName(text: string, value: string): string {
  const isName = /^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/.test(value) && value !== ORIGINAL_VIEW;
  if (!isName) throw usage(text, `name: letters, digits and ._-, not "${ORIGINAL_VIEW}"`, JSON.stringify(value));
  return value;
}

function fillDefaults(
  text: string,
  recipe: string,
  parameters: Record<string, RecipeParameter>,
  values: Record<string, RecipeValue>,
): void {
  for (const [key, parameter] of Object.entries(parameters)) {
    if (values[key] !== undefined) continue;
    if (parameter.kind === 'range') values[key] = { low: parameter.default[0], high: parameter.default[1] };
    else if (parameter.default !== undefined) values[key] = parameter.default;
    else if (!('optional' in parameter)) throw usage(text, `${recipe} with ${key}=`, 'none');
  }
}

/** A number, a..b to draw from, a word, or numbers joined by `/`. */
function parseValue(text: string, key: string, parameter: RecipeParameter, value: string): RecipeValue {
  if (parameter.kind === 'word' || parameter.kind === 'numbers') {
    const parsed = parameter.kind === 'word' ? value : value.split('/').map(toNumber);
    const problem = parameterProblem(parameter, parsed);
    if (problem !== undefined) throw usage(text, `${key}: ${problem}`, JSON.stringify(value));
    return parsed;
  }
  const ends = value.split('..').map(toNumber);
  const isInBounds = ends.every((end) => end >= parameter.min && end <= parameter.max);
  const isWhole = parameter.kind === 'range' || !parameter.whole || ends.every(Number.isInteger);
  const isOne = ends.length === 1 && parameter.kind === 'number';
  const isTwo = ends.length === 2 && ends[0]! <= ends[1]!;
  if (!isInBounds || !isWhole || !(isOne || isTwo)) {
    const noun =
      parameter.kind === 'range' ? 'a..b' : parameter.whole ? 'a whole number, or a..b,' : 'a number, or a..b,';
    throw usage(text, `${key}: ${noun} in ${parameter.min}..${parameter.max}`, JSON.stringify(value));
  }
  return isTwo ? ({ low: ends[0]!, high: ends[1]! } satisfies Range) : ends[0]!;
}

function toNumber(text: string): number {
  return /^\s*$/.test(text) ? Number.NaN : Number(text);
}

function usage(text: string, expected: string, got: string): UsageError {
  return new UsageError(`--op ${text}: expected ${expected}, got ${got}`);
}
