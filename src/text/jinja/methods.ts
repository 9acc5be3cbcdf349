// SPDX-License-Identifier: Apache-2.0
// Python's methods of str, list and dict. Missing ones are refused by name.
import type { Budget } from './limits.ts';
import {
  type Arguments,
  asNumber,
  Callable,
  type Dict,
  isEqual,
  TemplateError,
  Tuple,
  typeName,
  type Value,
} from './values.ts';

type Method<T> = (self: T, args: Arguments, budget: Budget) => Value;

const BLANK = '\\t\\n\\v\\f\\r\\x1c-\\x1f \\x85\\xa0\\u1680\\u2000-\\u200a\\u2028\\u2029\\u202f\\u205f\\u3000';
const BLANKS = new RegExp(`[${BLANK}]+`);
// As a string, so the pattern's source contains no control character.
const LINE_END = '\\n\\r\\v\\f\\x1c-\\x1e\\x85\\u2028\\u2029';
const LINE_ENDS = new RegExp(`\\r\\n|[${LINE_END}]`);
const LEADING = new RegExp(`^[${BLANK}]+`);

/** Python's strip() on the given sides; `chars` instead of white space. */
export function strip(self: string, sides: 'both' | 'left' | 'right', chars: Value = null): string {
  if (chars !== null && typeof chars !== 'string')
    throw new TemplateError(`strip: expected a str, got ${typeName(chars)}`);
  const list = [...self];
  const blank = chars === null ? (char: string) => BLANKS.test(char) : (char: string) => [...chars].includes(char);
  let [begin, end] = [0, list.length];
  if (sides !== 'right') while (begin < end && blank(list[begin]!)) begin++;
  if (sides !== 'left') while (end > begin && blank(list[end - 1]!)) end--;
  return list.slice(begin, end).join('');
}

/** Python's capitalize(). */
export function capitalize(self: string): string {
  const [first = '', ...rest] = [...self];
  return first.toUpperCase() + rest.join('').toLowerCase();
}

/** Python's replace(). */
export function replaceText(self: string, [from, to, count]: Value[], budget: Budget): string {
  const [old, next] = [want(from, 'replace'), want(to, 'replace')];
  const limit = count === undefined || count === null ? -1 : (asNumber(count) ?? -1);
  const pieces = old === '' ? ['', ...self, ''] : self.split(old);
  budget.take(self.length + (pieces.length - 1) * next.length);
  const kept = limit < 0 ? pieces.length : Math.min(pieces.length, limit + 1);
  const rest = pieces.slice(kept - 1).join(old);
  return [...pieces.slice(0, kept - 1), rest].join(next);
}

function want(value: Value | undefined, method: string): string {
  if (typeof value === 'string') return value;
  throw new TemplateError(`${method}: expected a str, got ${value === undefined ? 'nothing' : typeName(value)}`);
}

function anyOf(value: Value | undefined, method: string): string[] {
  return (value instanceof Tuple ? value.items : [value]).map((item) => want(item, method));
}

function split(self: string, args: Arguments, fromRight: boolean): Value {
  const separator = args.list[0] ?? args.named.get('sep') ?? null;
  const limit = asNumber(args.list[1] ?? args.named.get('maxsplit') ?? -1) ?? -1;
  if (separator === null) {
    if (limit >= 0) throw new TemplateError('split: maxsplit without a separator is not supported');
    return self.split(BLANKS).filter((piece) => piece !== '');
  }
  const mark = want(separator, 'split');
  if (mark === '') throw new TemplateError('split: empty separator');
  const pieces = self.split(mark);
  if (limit < 0 || pieces.length <= limit + 1) return pieces;
  const cut = fromRight ? pieces.length - limit : limit;
  const joined = (fromRight ? pieces.slice(0, cut) : pieces.slice(cut)).join(mark);
  return fromRight ? [joined, ...pieces.slice(cut)] : [...pieces.slice(0, cut), joined];
}

const places = (self: string, part: Value | undefined, method: string, last: boolean) => {
  const at = last ? self.lastIndexOf(want(part, method)) : self.indexOf(want(part, method));
  return at < 0 ? -1 : [...self.slice(0, at)].length;
};

const TEXT: Record<string, Method<string>> = {
  upper: (self) => self.toUpperCase(),
  lower: (self) => self.toLowerCase(),
  capitalize: (self) => capitalize(self),
  // A letter after a non-letter becomes upper case, others lower case.
  title: (self) => self.toLowerCase().replace(/\p{L}[\p{L}\p{M}]*/gu, capitalize),
  strip: (self, { list }) => strip(self, 'both', list[0]),
  lstrip: (self, { list }) => strip(self, 'left', list[0]),
  rstrip: (self, { list }) => strip(self, 'right', list[0]),
  startswith: (self, { list }) => anyOf(list[0], 'startswith').some((part) => self.startsWith(part)),
  endswith: (self, { list }) => anyOf(list[0], 'endswith').some((part) => self.endsWith(part)),
  split: (self, args) => split(self, args, false),
  rsplit: (self, args) => split(self, args, true),
  splitlines: (self) => {
    const lines = self.split(LINE_ENDS);
    if (lines.at(-1) === '') lines.pop();
    return lines;
  },
  replace: (self, { list, named }, budget) => replaceText(self, [...list, ...named.values()], budget),
  join: (self, { list }, budget) => {
    const items = (Array.isArray(list[0]) ? list[0] : []).map((item) => want(item, 'join'));
    budget.take(items.reduce((sum, item) => sum + item.length + self.length, 0));
    return items.join(self);
  },
  find: (self, { list }) => places(self, list[0], 'find', false),
  rfind: (self, { list }) => places(self, list[0], 'rfind', true),
  count: (self, { list }) => self.split(want(list[0], 'count')).length - 1,
  removeprefix: (self, { list }) => {
    const part = want(list[0], 'removeprefix');
    return self.startsWith(part) ? self.slice(part.length) : self;
  },
  removesuffix: (self, { list }) => {
    const part = want(list[0], 'removesuffix');
    return part !== '' && self.endsWith(part) ? self.slice(0, -part.length) : self;
  },
  isdigit: (self) => /^\p{Nd}+$/u.test(self),
  isspace: (self) => self !== '' && self.replace(LEADING, '') === '',
};

const LIST: Record<string, Method<Value[]>> = {
  index: (self, { list }) => {
    const at = self.findIndex((item) => isEqual(item, list[0]!));
    if (at === -1) throw new TemplateError('index: no such item');
    return at;
  },
  count: (self, { list }) => self.filter((item) => isEqual(item, list[0]!)).length,
  copy: (self) => [...self],
};

const DICT: Record<string, Method<Dict>> = {
  get: (self, { list, named }) => self.get(list[0]!) ?? list[1] ?? named.get('default') ?? null,
  items: (self) => [...self].map(([key, value]) => new Tuple([key, value])),
  keys: (self) => [...self.keys()],
  values: (self) => [...self.values()],
  copy: (self) => new Map(self),
};

// Python's other methods. Jinja's sandbox also refuses those that change their object.
const REFUSED = {
  text: 'casefold center encode expandtabs format format_map index isalnum isalpha isascii isdecimal isidentifier islower isnumeric isprintable istitle isupper ljust maketrans partition rindex rjust rpartition swapcase translate zfill',
  list: 'append clear extend insert pop remove reverse sort',
  dict: 'clear fromkeys pop popitem setdefault update',
};

/** The method `name` of a value, or undefined. Throws TemplateError for an unsupported method of Python. */
export function methodOf(self: Value, name: string, budget: Budget): Callable | undefined {
  const bind = <T>(kind: keyof typeof REFUSED, table: Record<string, Method<T>>, bound: T): Callable | undefined => {
    if (REFUSED[kind].split(' ').includes(name))
      throw new TemplateError(`${typeName(self)}.${name}() is not supported`);
    const method = Object.hasOwn(table, name) ? table[name] : undefined;
    const size = typeof self === 'string' || Array.isArray(self) ? self.length : (self as Dict).size;
    return (
      method &&
      new Callable((args) => {
        budget.take(size);
        return method(bound, args, budget);
      })
    );
  };
  if (typeof self === 'string') return bind('text', TEXT, self);
  if (Array.isArray(self)) return bind('list', LIST, self);
  return self instanceof Map ? bind('dict', DICT, self) : undefined;
}
