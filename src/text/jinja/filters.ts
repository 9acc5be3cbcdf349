// SPDX-License-Identifier: Apache-2.0
// Filters of Jinja 3.1 in transformers' environment. Source: jinja2/filters.py (behaviour only).
import type { Budget } from './limits.ts';
import { capitalize, methodOf, replaceText, strip } from './methods.ts';
import { testNamed } from './tests.ts';
import { toJson } from './to-json.ts';
import {
  type Arguments,
  asNumber,
  compare,
  Float,
  isEqual,
  isTrue,
  iterate,
  Markup,
  Namespace,
  repr,
  sequence,
  TemplateError,
  Tuple,
  text,
  typeName,
  Undefined,
  type Value,
} from './values.ts';

type Filter = (value: Value, args: Arguments, budget: Budget) => Value;

/** `value[key]` of a template: the item, else the method, else undefined. */
export function itemOf(value: Value, key: Value, budget: Budget): Value {
  if (value instanceof Undefined) throw new TemplateError(`${value.name} is undefined`);
  if (value instanceof Map && value.has(key)) return value.get(key)!;
  if (value instanceof Namespace) return value.fields.get(text(key)) ?? new Undefined(text(key));
  if (typeof value === 'string') budget.take(value.length);
  const items = typeof value === 'string' && typeof key === 'number' ? [...value] : sequence(value);
  if (items !== undefined && typeof key === 'number') return items.at(key) ?? new Undefined(`item ${key}`);
  const name = text(key);
  return (typeof key === 'string' ? methodOf(value, name, budget) : undefined) ?? new Undefined(name);
}

// `attribute="a.b.0"` of map, sort and others.
function attributeOf(path: Value, fallback: Value | undefined, budget: Budget): (value: Value) => Value {
  const parts = typeof path === 'number' ? [path] : text(path).split('.');
  const keys = parts.map((part) => (/^\d+$/.test(String(part)) ? Number(part) : part));
  return (value) => {
    const found = keys.reduce((at: Value, key) => itemOf(at, key, budget), value);
    return found instanceof Undefined && fallback !== undefined ? fallback : found;
  };
}

const argument = ({ list, named }: Arguments, at: number, name: string): Value | undefined =>
  list[at] ?? named.get(name);

const folded = (value: Value): Value => (typeof value === 'string' ? value.toLowerCase() : value);

// The key of sort, unique, min and max.
function keyOf(args: Arguments, [caseAt, attributeAt]: [number, number], budget: Budget): (value: Value) => Value {
  const attribute = argument(args, attributeAt, 'attribute') ?? null;
  const get = attribute === null ? (value: Value) => value : attributeOf(attribute, undefined, budget);
  return isTrue(argument(args, caseAt, 'case_sensitive') ?? false) ? get : (value) => folded(get(value));
}

function sorted(items: Value[], key: (value: Value) => Value, reverse: Value): Value[] {
  const keyed = items.map((item) => ({ item, key: key(item) }));
  const sign = isTrue(reverse) ? -1 : 1;
  return keyed.sort((a, b) => sign * compare(a.key, b.key)).map(({ item }) => item);
}

function extreme(value: Value, args: Arguments, budget: Budget, sign: number): Value {
  const key = keyOf(args, [0, 1], budget);
  const items = iterate(value);
  if (items.length === 0) return new Undefined('no items');
  return items.reduce((best, item) => (sign * compare(key(item), key(best)) > 0 ? item : best));
}

// select, reject, selectattr and rejectattr.
function selection(wanted: boolean, byAttribute: boolean): Filter {
  return (value, { list }, budget) => {
    const [attribute, name, ...rest] = byAttribute ? list : [null, ...list];
    if (byAttribute && attribute === undefined) throw new TemplateError('selectattr: expected an attribute');
    const get = byAttribute ? attributeOf(attribute!, undefined, budget) : (item: Value) => item;
    const test = name === undefined ? isTrue : (item: Value) => testNamed(text(name))(item, rest);
    return iterate(value).filter((item) => {
      budget.step();
      return test(get(item)) === wanted;
    });
  };
}

function mapped(value: Value, args: Arguments, budget: Budget): Value {
  const attribute = args.named.get('attribute');
  const [name, ...rest] = args.list;
  const each =
    attribute !== undefined
      ? attributeOf(attribute, args.named.get('default'), budget)
      : (item: Value) => filterNamed(text(name ?? ''))(item, { list: rest, named: args.named }, budget);
  return iterate(value).map((item) => {
    budget.step();
    return each(item);
  });
}

/** Python's `%`, for the conversions that templates use. */
export function formatText(format: string, values: Value[], budget: Budget): string {
  let next = 0;
  const made = format.replace(/%(.?)/gs, (_, kind: string) => {
    if (kind === '%') return '%';
    const value = values[next++];
    if (value === undefined) throw new TemplateError('format: fewer values than places');
    if (kind === 's') return text(value);
    if (kind === 'r') return repr(value);
    const number = asNumber(value);
    if ((kind === 'd' || kind === 'i') && number !== undefined) return String(Math.trunc(number));
    throw new TemplateError(`format: %${kind} of a ${typeName(value)} is not supported`);
  });
  if (next < values.length) throw new TemplateError('format: more values than places');
  budget.take(made.length);
  return made;
}

function indented(value: string, args: Arguments, budget: Budget): string {
  const width = argument(args, 0, 'width') ?? 4;
  const margin = typeof width === 'string' ? width : ' '.repeat(Math.min(1000, Math.max(0, asNumber(width) ?? 0)));
  const lines = (methodOf(`${value}\n`, 'splitlines', budget)!.call({ list: [], named: new Map() }) as string[]) ?? [];
  budget.take(value.length + lines.length * margin.length);
  const blank = isTrue(argument(args, 2, 'blank') ?? false);
  const body = lines.map((line, index) => (index > 0 && (blank || line !== '') ? margin + line : line)).join('\n');
  return isTrue(argument(args, 1, 'first') ?? false) ? margin + body : body;
}

function toInt(value: Value, args: Arguments): Value {
  if (argument(args, 1, 'base') !== undefined) throw new TemplateError('int: base is not supported');
  const fallback = argument(args, 0, 'default') ?? 0;
  const number = typeof value === 'string' ? numeric(value) : asNumber(value);
  return number === undefined || !Number.isFinite(number) ? fallback : Math.trunc(number);
}

function toFloat(value: Value, args: Arguments): Value {
  const number = typeof value === 'string' ? numeric(value) : asNumber(value);
  return number === undefined ? (argument(args, 0, 'default') ?? new Float(0)) : new Float(number);
}

function numeric(value: string): number | undefined {
  const plain = strip(value, 'both');
  return /^[+-]?(\d+(\.\d*)?|\.\d+)(e[+-]?\d+)?$/i.test(plain) ? Number(plain) : undefined;
}

function lengthOf(value: Value): number {
  if (value instanceof Map) return value.size;
  if (value instanceof Undefined) return 0;
  if (typeof value !== 'string' && sequence(value) === undefined)
    throw new TemplateError(`a ${typeName(value)} has no length`);
  return iterate(value).length;
}

const onText =
  (change: (value: string, args: Arguments, budget: Budget) => string): Filter =>
  (value, args, budget) => {
    const from = text(value);
    budget.take(from.length);
    return change(from, args, budget);
  };

const FILTERS: Record<string, Filter> = {
  abs: (value) => {
    const number = asNumber(value);
    if (number === undefined) throw new TemplateError(`abs: expected a number, got ${typeName(value)}`);
    return value instanceof Float ? new Float(Math.abs(number)) : Math.abs(number);
  },
  capitalize: onText(capitalize),
  count: lengthOf,
  default: (value, args) =>
    value instanceof Undefined || (isTrue(argument(args, 1, 'boolean') ?? false) && !isTrue(value))
      ? (argument(args, 0, 'default_value') ?? '')
      : value,
  dictsort: (value, args) => {
    if (!(value instanceof Map)) throw new TemplateError(`dictsort: expected a dict, got ${typeName(value)}`);
    const at = text(argument(args, 1, 'by') ?? 'key') === 'value' ? 1 : 0;
    const pick = (pair: Value) => (pair as Tuple).items[at]!;
    const key = isTrue(argument(args, 0, 'case_sensitive') ?? false) ? pick : (pair: Value) => folded(pick(pair));
    const pairs = [...value].map((pair) => new Tuple(pair));
    return sorted(pairs, key, argument(args, 2, 'reverse') ?? false);
  },
  first: (value) => iterate(value)[0] ?? new Undefined('first item'),
  float: toFloat,
  format: (value, { list }, budget) => formatText(text(value), list, budget),
  indent: onText(indented),
  int: toInt,
  items: (value) => {
    if (value instanceof Undefined) return [];
    if (!(value instanceof Map)) throw new TemplateError(`items: expected a dict, got ${typeName(value)}`);
    return [...value].map((pair) => new Tuple(pair));
  },
  join: (value, args, budget) => {
    const attribute = argument(args, 1, 'attribute');
    const get = attribute === undefined ? (item: Value) => item : attributeOf(attribute, undefined, budget);
    const separator = text(argument(args, 0, 'd') ?? '');
    const items = iterate(value).map((item) => text(get(item)));
    budget.take(items.reduce((sum, item) => sum + item.length + separator.length, 0));
    return items.join(separator);
  },
  last: (value) => iterate(value).at(-1) ?? new Undefined('last item'),
  length: lengthOf,
  list: (value, _args, budget) => {
    const items = iterate(value);
    budget.take(items.length);
    return [...items];
  },
  lower: onText((value) => value.toLowerCase()),
  map: mapped,
  max: (value, args, budget) => extreme(value, args, budget, 1),
  min: (value, args, budget) => extreme(value, args, budget, -1),
  reject: selection(false, false),
  rejectattr: selection(false, true),
  replace: onText((value, { list, named }, budget) => replaceText(value, [...list, ...named.values()], budget)),
  reverse: (value) => (typeof value === 'string' ? [...value].reverse().join('') : [...iterate(value)].reverse()),
  safe: (value) => new Markup(text(value)),
  select: selection(true, false),
  selectattr: selection(true, true),
  sort: (value, args, budget) => {
    const items = iterate(value);
    budget.take(items.length * 32);
    return sorted(items, keyOf(args, [1, 2], budget), argument(args, 0, 'reverse') ?? false);
  },
  string: onText((value) => value),
  sum: (value, args, budget) => {
    const attribute = argument(args, 0, 'attribute');
    const get = attribute === undefined ? (item: Value) => item : attributeOf(attribute, undefined, budget);
    const all = [argument(args, 1, 'start') ?? 0, ...iterate(value).map(get)];
    const numbers = all.map(asNumber);
    if (numbers.includes(undefined)) throw new TemplateError('sum: expected numbers');
    const total = numbers.reduce((sum: number, number) => sum + number!, 0);
    return all.some((item) => item instanceof Float) ? new Float(total) : total;
  },
  title: onText((value) =>
    value
      .split(/([-\s({[<]+)/)
      .map((word) => capitalize(word))
      .join(''),
  ),
  tojson: (value, args, budget) => toJson(value, args, budget),
  trim: onText((value, args) => strip(value, 'both', argument(args, 0, 'chars') ?? null)),
  unique: (value, args, budget) => {
    const key = keyOf(args, [0, 1], budget);
    const kept: Value[] = [];
    const seen: Value[] = [];
    for (const item of iterate(value)) {
      const mine = key(item);
      budget.take(seen.length);
      if (seen.some((other) => isEqual(other, mine))) continue;
      seen.push(mine);
      kept.push(item);
    }
    return kept;
  },
  upper: onText((value) => value.toUpperCase()),
};
FILTERS.d = FILTERS.default!;

/** Throws TemplateError for an unknown filter. */
export function filterNamed(name: string): Filter {
  const filter = Object.hasOwn(FILTERS, name) ? FILTERS[name] : undefined;
  if (filter === undefined) throw new TemplateError(`the filter ${JSON.stringify(name)} is not supported`);
  return (value, args, budget) => {
    if (value instanceof Markup) throw new TemplateError(`${name} after safe is not supported`);
    return filter(value, args, budget);
  };
}
