// SPDX-License-Identifier: Apache-2.0
// Values of a template with Python's semantics: truth, equality, order, printing.

/** An undefined name or field: prints as an empty text, is false, has no fields. */
export class Undefined {
  readonly name: string;
  constructor(name: string) {
    this.name = name;
  }
}

/** Python's float; a plain number is an int. */
export class Float {
  readonly value: number;
  constructor(value: number) {
    this.value = value;
  }
}

export class Tuple {
  readonly items: Value[];
  constructor(items: Value[]) {
    this.items = items;
  }
}

/** namespace(...): the only value with assignable fields. */
export class Namespace {
  readonly fields: Map<string, Value>;
  constructor(fields: Map<string, Value>) {
    this.fields = fields;
  }
}

/** Result of `safe`: can only be printed. */
export class Markup {
  readonly text: string;
  constructor(text: string) {
    this.text = text;
  }
}

/** Positional and keyword arguments of a call. */
export interface Arguments {
  list: Value[];
  named: Map<string, Value>;
}

export class Callable {
  readonly call: (args: Arguments) => Value;
  constructor(call: (args: Arguments) => Value) {
    this.call = call;
  }
}

export type Dict = Map<Value, Value>;
export type Value =
  | string
  | number
  | boolean
  | null
  | Value[]
  | Dict
  | Undefined
  | Float
  | Tuple
  | Namespace
  | Markup
  | Callable;

/** An error of a template, or an unsupported feature. */
export class TemplateError extends Error {
  override name = 'TemplateError';
}

export function typeName(value: Value): string {
  if (typeof value === 'string') return 'str';
  if (typeof value === 'boolean') return 'bool';
  if (typeof value === 'number') return 'int';
  if (value === null) return 'NoneType';
  if (Array.isArray(value)) return 'list';
  if (value instanceof Map) return 'dict';
  if (value instanceof Float) return 'float';
  if (value instanceof Tuple) return 'tuple';
  return value.constructor.name;
}

export function isTrue(value: Value): boolean {
  if (value instanceof Float) return value.value !== 0;
  if (value instanceof Map) return value.size > 0;
  if (value instanceof Tuple) return value.items.length > 0;
  if (Array.isArray(value)) return value.length > 0;
  if (value instanceof Markup) return value.text !== '';
  return !(value instanceof Undefined) && Boolean(value);
}

/** A number of any kind as JavaScript's, or undefined. */
export function asNumber(value: Value): number | undefined {
  if (typeof value === 'number') return value;
  if (typeof value === 'boolean') return Number(value);
  return value instanceof Float ? value.value : undefined;
}

export function isEqual(a: Value, b: Value, walk = new Walk()): boolean {
  walk.visit();
  const [x, y] = [asNumber(a), asNumber(b)];
  if (x !== undefined && y !== undefined) return x === y;
  if (a instanceof Undefined) return b instanceof Undefined;
  if (a instanceof Tuple && b instanceof Tuple) return isEqual(a.items, b.items, walk);
  if (Array.isArray(a) && Array.isArray(b))
    return a.length === b.length && a.every((item, index) => isEqual(item, b[index]!, walk));
  if (a instanceof Map && b instanceof Map)
    return a.size === b.size && [...a].every(([key, item]) => b.has(key) && isEqual(item, b.get(key)!, walk));
  return a === b;
}

/** A list may contain itself many times, so traversals count their visits. */
const MAX_VISITS = 1_000_000;

class Walk {
  #visits = 0;
  visit(): void {
    if (++this.#visits > MAX_VISITS) throw new TemplateError(`a value has more than ${MAX_VISITS} parts`);
  }
}

/** Negative, 0 or positive. Throws TemplateError if Python does not order the two. */
export function compare(a: Value, b: Value): number {
  const [x, y] = [asNumber(a), asNumber(b)];
  if (x !== undefined && y !== undefined) return x - y;
  if (typeof a === 'string' && typeof b === 'string') return compareText(a, b);
  const [left, right] = [sequence(a), sequence(b)];
  if (left === undefined || right === undefined || Array.isArray(a) !== Array.isArray(b))
    throw new TemplateError(`${typeName(a)} and ${typeName(b)} have no order`);
  const at = left.findIndex((item, index) => index >= right.length || !isEqual(item, right[index]!));
  if (at === -1) return left.length - right.length;
  return at >= right.length ? 1 : compare(left[at]!, right[at]!);
}

// By code points, as Python.
function compareText(a: string, b: string): number {
  if (a === b) return 0;
  const [x, y] = [[...a], [...b]];
  const at = x.findIndex((char, index) => char !== y[index]);
  if (at === -1) return -1;
  return at >= y.length ? 1 : x[at]!.codePointAt(0)! - y[at]!.codePointAt(0)!;
}

/** Items of a list or tuple. */
export function sequence(value: Value): Value[] | undefined {
  return Array.isArray(value) ? value : value instanceof Tuple ? value.items : undefined;
}

/** The items of a loop over the value. Throws TemplateError if it is not iterable. */
export function iterate(value: Value): Value[] {
  const items = sequence(value);
  if (items !== undefined) return items;
  if (typeof value === 'string') return [...value];
  if (value instanceof Map) return [...value.keys()];
  if (value instanceof Undefined) return [];
  throw new TemplateError(`${typeName(value)} is not iterable`);
}

/** Python's str(). */
export function text(value: Value): string {
  if (typeof value === 'string') return value;
  if (value instanceof Markup) return value.text;
  return value instanceof Undefined ? '' : repr(value);
}

/** Python's repr(). */
export function repr(value: Value, walk = new Walk()): string {
  walk.visit();
  const list = (items: Value[]) => items.map((item) => repr(item, walk)).join(', ');
  if (typeof value === 'string') return quote(value);
  if (value === null) return 'None';
  if (typeof value === 'boolean') return value ? 'True' : 'False';
  if (typeof value === 'number') return String(value);
  if (value instanceof Float) return floatText(value.value);
  if (Array.isArray(value)) return `[${list(value)}]`;
  if (value instanceof Tuple) return `(${list(value.items)}${value.items.length === 1 ? ',' : ''})`;
  if (value instanceof Map)
    return `{${[...value].map(([key, item]) => `${repr(key, walk)}: ${repr(item, walk)}`).join(', ')}}`;
  if (value instanceof Undefined) return 'Undefined';
  throw new TemplateError(`a ${typeName(value)} cannot be printed`);
}

function floatText(value: number): string {
  if (Number.isNaN(value)) return 'nan';
  if (!Number.isFinite(value)) return value > 0 ? 'inf' : '-inf';
  if (Object.is(value, -0)) return '-0.0';
  const size = Math.abs(value);
  if (size !== 0 && (size < 1e-4 || size >= 1e16)) {
    const [digits, exponent] = value.toExponential().split('e') as [string, string];
    return `${digits}e${exponent[0]}${exponent.slice(1).padStart(2, '0')}`;
  }
  return Number.isInteger(value) ? `${value}.0` : String(value);
}

const ESCAPES: Record<string, string> = { '\\': '\\\\', '\n': '\\n', '\r': '\\r', '\t': '\\t' };

function quote(value: string): string {
  const mark = value.includes("'") && !value.includes('"') ? '"' : "'";
  const body = value.replace(/[\\\n\r\t]/g, (char) => ESCAPES[char]!).replaceAll(mark, `\\${mark}`);
  const shown = body.replace(/[\p{C}\p{Z}]/gu, (char) => {
    const code = char.codePointAt(0)!;
    if (char === ' ') return char;
    if (code < 0x100) return `\\x${code.toString(16).padStart(2, '0')}`;
    return code < 0x10000 ? `\\u${code.toString(16).padStart(4, '0')}` : `\\U${code.toString(16).padStart(8, '0')}`;
  });
  return `${mark}${shown}${mark}`;
}

/** A JavaScript value (JSON, or made of these classes) as a template's value. */
export function fromJson(value: unknown): Value {
  if (Array.isArray(value)) return value.map(fromJson);
  if (typeof value === 'number') return Number.isInteger(value) ? value : new Float(value);
  if (value === undefined) return new Undefined('undefined');
  if (typeof value !== 'object' || value === null || value instanceof Callable) return value as Value;
  return new Map(Object.entries(value).map(([key, item]) => [key, fromJson(item)]));
}
