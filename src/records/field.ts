// SPDX-License-Identifier: Apache-2.0
// Shapes of JSON values: one definition checks a value, describes its error, and prints as JSON Schema.
import { count as countOf } from './count.ts';
import { RecordError } from './error.ts';

/** A fault of a value, with its path: "" for the value itself, else such as "responses[1].text". */
export interface Problem {
  path: string;
  expected: string;
  got: string;
}

/** A set of JSON values. T is the type of a value that passes. */
export interface Shape<T = unknown> {
  /** Completes "expected ...". */
  expected: string;
  schema: JsonSchema;
  check(value: unknown): Problem | undefined;
  /** Carries T only; never set. */
  type?: T;
}

export type JsonSchema = Record<string, unknown>;
export type ShapeOf<S> = S extends Shape<infer T> ? T : never;

/** Where a value stands: file name or "stdin", and 1-based line. */
export interface Place {
  source: string;
  line: number;
}

/** The value, if it has the shape; else throws RecordError with `field` joined with the path inside it. */
export function checkShape<T>(shape: Shape<T>, value: unknown, at: Place, field = ''): T {
  const problem = shape.check(value);
  if (problem === undefined) return value as T;
  throw new RecordError(at, joinPath(field, problem.path) || 'record', problem.expected, problem.got);
}

/** A short description of the value, for "got ...". */
export function describeValue(value: unknown): string {
  if (value === undefined) return 'nothing';
  if (value === null) return 'null';
  if (value instanceof Uint8Array) return `${countOf(value.length, 'byte')} of binary data`;
  if (Array.isArray(value)) return value.length === 0 ? 'an empty array' : 'an array';
  if (typeof value === 'string') {
    if (value === '') return 'an empty string';
    // Do not split a surrogate pair.
    const short = value.slice(0, 40).replace(/[\ud800-\udbff]$/, '');
    return `string ${JSON.stringify(short)}${value.length > short.length ? '...' : ''}`;
  }
  return typeof value === 'object' ? 'an object' : `${typeof value} ${String(value)}`;
}

/** "a" + "[0].b" = "a[0].b"; "a" + "b" = "a.b". */
export function joinPath(field: string, path: string): string {
  if (field === '' || path === '') return field + path;
  return path.startsWith('[') ? field + path : `${field}.${path}`;
}

function simple<T>(expected: string, schema: JsonSchema, passes: (value: unknown) => boolean): Shape<T> {
  return {
    expected,
    schema,
    check: (value) => (passes(value) ? undefined : { path: '', expected, got: describeValue(value) }),
  };
}

export const anything: Shape<unknown> = simple('any value', {}, (value) => value !== undefined);
export const string: Shape<string> = simple('a string', { type: 'string' }, (value) => typeof value === 'string');
export const nonEmptyString: Shape<string> = simple(
  'a non-empty string',
  { type: 'string', minLength: 1 },
  (value) => typeof value === 'string' && value !== '',
);
export const number: Shape<number> = simple('a number', { type: 'number' }, (value) => typeof value === 'number');
export const boolean: Shape<boolean> = simple(
  'true or false',
  { type: 'boolean' },
  (value) => typeof value === 'boolean',
);
export const nothing: Shape<null> = simple('null', { type: 'null' }, (value) => value === null);
export const integer: Shape<number> = simple('an integer', { type: 'integer' }, (value) => Number.isInteger(value));
export const count: Shape<number> = simple(
  'an integer of at least 0',
  { type: 'integer', minimum: 0 },
  (value) => Number.isInteger(value) && (value as number) >= 0,
);
export const anyObject: Shape<Record<string, unknown>> = simple('an object', { type: 'object' }, isObject);

/** One of the given strings. */
export function oneOf<const T extends string>(...options: T[]): Shape<T> {
  const quoted = options.map((option) => JSON.stringify(option));
  return simple(listWords(quoted), { enum: options }, (value) => (options as unknown[]).includes(value));
}

/** An array of the shape; `expected` defaults to the item's words. */
export function arrayOf<T>(item: Shape<T>, expected = `an array of ${plural(item.expected)}`): Shape<T[]> {
  return {
    expected,
    schema: { type: 'array', items: item.schema },
    check: (value) => {
      if (!Array.isArray(value)) return { path: '', expected, got: describeValue(value) };
      for (let index = 0; index < value.length; index++) {
        const problem = item.check(value[index]);
        if (problem !== undefined) return { ...problem, path: joinPath(`[${index}]`, problem.path) };
      }
      return undefined;
    },
  };
}

/** An object whose every value has the shape. */
export function mapOf<T>(item: Shape<T>, expected = `an object of ${plural(item.expected)}`): Shape<Record<string, T>> {
  return {
    expected,
    schema: { type: 'object', additionalProperties: item.schema },
    check: (value) => {
      if (!isObject(value)) return { path: '', expected, got: describeValue(value) };
      for (const key in value) {
        const problem = item.check(value[key]);
        if (problem !== undefined) return { ...problem, path: joinPath(key, problem.path) };
      }
      return undefined;
    },
  };
}

type Members = Record<string, Shape>;
type ObjectOf<R extends Members, O extends Members> = { [K in keyof R]: ShapeOf<R[K]> } & {
  [K in keyof O]?: ShapeOf<O[K]>;
} & Record<string, unknown>;

/** An object with these members; others pass unchanged. */
export function object<R extends Members, O extends Members = Record<never, never>>(
  required: R,
  optional: O = {} as O,
  expected = 'an object',
): Shape<ObjectOf<R, O>> {
  const requiredEntries = Object.entries(required);
  const optionalEntries = Object.entries(optional);
  // A record has few of many optional fields, so iterate over the record's. No prototype, because a field may be named "constructor".
  const optionalShapes: Members = Object.assign(Object.create(null), optional);
  return {
    expected,
    schema: {
      type: 'object',
      ...(requiredEntries.length > 0 && { required: Object.keys(required) }),
      properties: Object.fromEntries(
        [...requiredEntries, ...optionalEntries].map(([key, shape]) => [key, shape.schema]),
      ),
    },
    check: (value) => {
      if (!isObject(value)) return { path: '', expected, got: describeValue(value) };
      for (const [key, shape] of requiredEntries) {
        const problem = shape.check(value[key]);
        if (problem !== undefined) return { ...problem, path: joinPath(key, problem.path) };
      }
      for (const key in value) {
        const shape = optionalShapes[key];
        const member = value[key];
        if (shape === undefined || member === undefined) continue;
        const problem = shape.check(member);
        if (problem !== undefined) return { ...problem, path: joinPath(key, problem.path) };
      }
      return undefined;
    },
  };
}

/** Any of the shapes. If all fail, reports the error with the deepest path. */
export function either<const S extends Shape[]>(...shapes: S): Shape<ShapeOf<S[number]>> {
  const expected = listWords(shapes.map((shape) => shape.expected));
  return {
    expected,
    schema: { anyOf: shapes.map((shape) => shape.schema) },
    check: (value) => {
      let deepest: Problem | undefined;
      for (const shape of shapes) {
        const problem = shape.check(value);
        if (problem === undefined) return undefined;
        if (problem.path.length > (deepest?.path.length ?? 0)) deepest = problem;
      }
      return deepest ?? { path: '', expected, got: describeValue(value) };
    },
  };
}

/** One of several object shapes, distinguished by the string in `tag`. */
export function tagged<V extends Record<string, Shape>>(tag: string, variants: V): Shape<ShapeOf<V[keyof V]>> {
  const tags = oneOf(...Object.keys(variants));
  const expected = `an object with ${tag} ${tags.expected}`;
  return {
    expected,
    schema: {
      oneOf: Object.entries(variants).map(([value, shape]) => withTag(shape.schema, tag, value)),
    },
    check: (value) => {
      if (!isObject(value)) return { path: '', expected, got: describeValue(value) };
      const problem = tags.check(value[tag]);
      if (problem !== undefined) return { ...problem, path: tag };
      return variants[value[tag] as string]!.check(value);
    },
  };
}

function withTag(schema: JsonSchema, tag: string, value: string): JsonSchema {
  return {
    ...schema,
    required: [tag, ...((schema.required as string[] | undefined) ?? [])],
    properties: { [tag]: { const: value }, ...(schema.properties as object) },
  };
}

/** The shape with a description in its schema. */
export function described<T>(shape: Shape<T>, description: string): Shape<T> {
  return { ...shape, schema: { description, ...shape.schema } };
}

export function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function listWords(words: string[]): string {
  return words.length < 2 ? words.join('') : `${words.slice(0, -1).join(', ')} or ${words.at(-1)}`;
}

// "a non-empty string" -> "non-empty strings"; "a string or null" -> "(a string or null)"
function plural(words: string): string {
  const match = /^an? ([a-z-]+(?: [a-z-]+)?)$/.exec(words);
  return match ? `${match[1]}s` : `(${words})`;
}
