// SPDX-License-Identifier: Apache-2.0
// The list of recipes for --help and the manual, from the recipes themselves.
import type { RecipeParameter } from './recipe.ts';
import { RECIPES } from './recipes.ts';

/** One line a recipe: name, parameters with defaults, meaning. */
export function recipeHelp(): string {
  const lines = [...RECIPES].map(([name, { parameters, summary }]) => {
    const shown = Object.entries(parameters)
      .filter(([key]) => key !== 'filter' && key !== 'fill')
      .map(([key, parameter]) => `${key}=${defaultOf(parameter)}`);
    return `  ${shown.length > 0 ? `${name}:${shown.join(',')}` : name}${summary === '' ? '' : `  ${summary}`}`;
  });
  return `Recipes and operations:
${lines.join('\n')}
All take p= (chance to be applied) and name= (of the view). A number may be a range a..b to draw from. Where pixels are looked up, also
filter= and fill=R/G/B; lists are joined with /.`;
}

function defaultOf(parameter: RecipeParameter): string {
  if (parameter.kind === 'range') return parameter.default.map((end) => String(Math.round(end * 1e4) / 1e4)).join('..');
  if (parameter.kind === 'numbers') return parameter.default?.join('/') ?? '';
  return parameter.default === undefined ? '' : String(parameter.default);
}
