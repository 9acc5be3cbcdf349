// SPDX-License-Identifier: Apache-2.0
// The global functions of templates.
import { type Budget, MAX_RANGE } from './limits.ts';
import { type Arguments, Namespace, TemplateError, text, type Value } from './values.ts';

/** Functions by name; `budget` limits their results. The interpreter refuses Jinja's other globals. */
export function globals(budget: Budget): Record<string, (args: Arguments) => Value> {
  return {
    range: (args) => range(args, budget),
    dict: ({ list, named }) => new Map<Value, Value>([...(list[0] instanceof Map ? list[0] : []), ...named]),
    namespace: ({ list, named }) => {
      const from = list[0] instanceof Map ? [...list[0]].map(([key, value]) => [text(key), value] as const) : [];
      return new Namespace(new Map([...from, ...named]));
    },
    raise_exception: ({ list }) => {
      throw new TemplateError(text(list[0] ?? 'raise_exception'));
    },
  };
}

function range({ list }: Arguments, budget: Budget): Value {
  const numbers = list.map((value) => (typeof value === 'number' ? value : Number.NaN));
  if (numbers.length < 1 || numbers.length > 3 || numbers.some(Number.isNaN))
    throw new TemplateError('range: expected one to three whole numbers');
  const [start, stop, step] = numbers.length === 1 ? [0, numbers[0]!, 1] : [numbers[0]!, numbers[1]!, numbers[2] ?? 1];
  if (step === 0) throw new TemplateError('range: a step of 0');
  const length = Math.max(0, Math.ceil((stop - start) / step));
  if (length > MAX_RANGE) throw new TemplateError(`range: expected at most ${MAX_RANGE} items, got ${length}`);
  budget.take(length);
  return Array.from({ length }, (_, index) => start + index * step);
}
