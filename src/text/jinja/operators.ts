// SPDX-License-Identifier: Apache-2.0
// Operators and slices of Python on a template's values.
import { formatText } from './filters.ts';
import type { Budget } from './limits.ts';
import {
  asNumber,
  compare,
  Float,
  isEqual,
  iterate,
  sequence,
  TemplateError,
  Tuple,
  text,
  typeName,
  Undefined,
  type Value,
} from './values.ts';

export function binary(operator: string, left: Value, right: Value, budget: Budget): Value {
  switch (operator) {
    case '==':
      return isEqual(left, right);
    case '!=':
      return !isEqual(left, right);
    case '<':
      return compare(left, right) < 0;
    case '<=':
      return compare(left, right) <= 0;
    case '>':
      return compare(left, right) > 0;
    case '>=':
      return compare(left, right) >= 0;
    case 'in':
      return contains(right, left, budget);
    case 'not in':
      return !contains(right, left, budget);
    case '~':
      return joined([text(left), text(right)], budget);
    default:
      return arithmetic(operator, left, right, budget);
  }
}

export function joined(parts: string[], budget: Budget): string {
  budget.take(parts.reduce((sum, part) => sum + part.length, 0));
  return parts.join('');
}

function contains(items: Value, item: Value, budget: Budget): boolean {
  if (typeof items !== 'string') {
    const all = iterate(items);
    budget.take(all.length);
    return all.some((one) => isEqual(one, item));
  }
  budget.take(items.length);
  if (typeof item !== 'string') throw new TemplateError(`in a str: expected a str, got ${typeName(item)}`);
  return items.includes(item);
}

function arithmetic(operator: string, left: Value, right: Value, budget: Budget): Value {
  const [a, b] = [asNumber(left), asNumber(right)];
  if (a !== undefined && b !== undefined)
    return numbers(operator, a, b, left instanceof Float || right instanceof Float);
  if (operator === '+') {
    if (typeof left === 'string' && typeof right === 'string') return joined([left, right], budget);
    const [x, y] = [sequence(left), sequence(right)];
    if (x !== undefined && y !== undefined && Array.isArray(left) === Array.isArray(right)) {
      budget.take(x.length + y.length);
      return Array.isArray(left) ? [...x, ...y] : new Tuple([...x, ...y]);
    }
  }
  if (operator === '*' && typeof right === 'number') return repeated(left, right, budget);
  if (operator === '*' && typeof left === 'number') return repeated(right, left, budget);
  if (operator === '%' && typeof left === 'string')
    return formatText(left, right instanceof Tuple ? right.items : [right], budget);
  for (const side of [left, right])
    if (side instanceof Undefined) throw new TemplateError(`${side.name} is undefined (operator ${operator})`);
  throw new TemplateError(`no operator ${operator} between ${typeName(left)} and ${typeName(right)}`);
}

function repeated(value: Value, times: number, budget: Budget): Value {
  const items = typeof value === 'string' ? value : sequence(value);
  if (items === undefined) throw new TemplateError(`no operator * between ${typeName(value)} and int`);
  const count = Math.max(0, times);
  budget.take(items.length * count);
  if (typeof items === 'string') return items.repeat(count);
  const all = Array.from({ length: count }, () => items).flat();
  return Array.isArray(value) ? all : new Tuple(all);
}

function numbers(operator: string, a: number, b: number, isFloat: boolean): Value {
  if (b === 0 && ['/', '//', '%'].includes(operator)) throw new TemplateError('division by zero');
  const results: Record<string, () => number> = {
    '+': () => a + b,
    '-': () => a - b,
    '*': () => a * b,
    '/': () => a / b,
    '//': () => Math.floor(a / b),
    // The sign of the divisor, as in Python.
    '%': () => a - b * Math.floor(a / b),
    '**': () => a ** b,
  };
  const result = results[operator]?.();
  if (result === undefined) throw new TemplateError(`the operator ${operator} is not supported`);
  if (isFloat || operator === '/' || (operator === '**' && b < 0)) return new Float(result);
  if (!Number.isSafeInteger(result)) throw new TemplateError(`${a} ${operator} ${b} is too large`);
  return result;
}

/** Python's value[start:stop:step]. */
export function slice(
  value: Value,
  start: number | undefined,
  stop: number | undefined,
  step: number | undefined,
  budget: Budget,
): Value {
  const items = typeof value === 'string' ? [...value] : sequence(value);
  if (items === undefined) throw new TemplateError(`a ${typeName(value)} cannot be sliced`);
  const by = step ?? 1;
  if (by === 0) throw new TemplateError('a slice with a step of 0');
  budget.take(items.length);
  const { length } = items;
  const [low, high] = by > 0 ? [0, length] : [-1, length - 1];
  const place = (at: number | undefined, otherwise: number) =>
    at === undefined ? otherwise : Math.min(high, Math.max(low, at < 0 ? at + length : at));
  const picked: Value[] = [];
  const end = place(stop, by > 0 ? high : low);
  for (let at = place(start, by > 0 ? low : high); by > 0 ? at < end : at > end; at += by) picked.push(items[at]!);
  if (typeof value === 'string') return picked.join('');
  return Array.isArray(value) ? picked : new Tuple(picked);
}
