// SPDX-License-Identifier: Apache-2.0
// The list of recipes for --help and the manual, generated from the recipes.
import type { RecipeParameter } from './recipe.ts';
import { RECIPES } from './recipes.ts';

/** One line per recipe: name, parameters with their defaults, meaning. */
export function recipeHelp(): string {
  return [...RECIPES]
    .map(([name, { parameters, summary }]) => {
      const shown = Object.entries(parameters).map(([key, parameter]) => `${key}=${defaultOf(parameter)}`);
      return `- \`${[name, shown.join(',')].filter(Boolean).join(':')}\`: ${summary}`;
    })
    .join('\n');
}

function defaultOf(parameter: RecipeParameter): string {
  if (parameter.kind === 'range') return parameter.default.map((end) => String(Math.round(end * 1e4) / 1e4)).join('..');
  if (parameter.kind === 'numbers') return parameter.default?.join('/') ?? '';
  return parameter.default === undefined ? '' : String(parameter.default);
}
