// SPDX-License-Identifier: Apache-2.0
// Tests (`x is defined`) of Jinja 3.1. Source: jinja2/tests.py (behaviour only).
import {
  asNumber,
  Callable,
  compare,
  Float,
  isEqual,
  iterate,
  Markup,
  sequence,
  TemplateError,
  text,
  Undefined,
  type Value,
} from './values.ts';

type Test = (value: Value, args: Value[]) => boolean;

const isInteger = (value: Value): value is number => typeof value === 'number';
const within = (value: Value, items: Value | undefined) => iterate(items ?? []).some((item) => isEqual(item, value));

const TESTS: Record<string, Test> = {
  boolean: (value) => typeof value === 'boolean',
  callable: (value) => value instanceof Callable,
  defined: (value) => !(value instanceof Undefined),
  divisibleby: (value, [by]) => (asNumber(value) ?? Number.NaN) % (asNumber(by ?? 0) ?? 0) === 0,
  eq: (value, [other]) => isEqual(value, other!),
  even: (value) => (asNumber(value) ?? Number.NaN) % 2 === 0,
  false: (value) => value === false,
  float: (value) => value instanceof Float,
  ge: (value, [other]) => compare(value, other!) >= 0,
  gt: (value, [other]) => compare(value, other!) > 0,
  in: (value, [items]) => (typeof items === 'string' ? items.includes(text(value)) : within(value, items)),
  integer: isInteger,
  iterable: (value) =>
    typeof value === 'string' || sequence(value) !== undefined || value instanceof Map || value instanceof Undefined,
  le: (value, [other]) => compare(value, other!) <= 0,
  lower: (value) => /\p{Ll}/u.test(text(value)) && text(value) === text(value).toLowerCase(),
  lt: (value, [other]) => compare(value, other!) < 0,
  mapping: (value) => value instanceof Map,
  ne: (value, [other]) => !isEqual(value, other!),
  none: (value) => value === null,
  number: (value) => asNumber(value) !== undefined,
  odd: (value) => Math.abs((asNumber(value) ?? Number.NaN) % 2) === 1,
  sameas: (value, [other]) => value === other,
  sequence: (value) => TESTS.iterable!(value, []),
  string: (value) => typeof value === 'string' || value instanceof Markup,
  true: (value) => value === true,
  undefined: (value) => value instanceof Undefined,
  upper: (value) => /\p{Lu}/u.test(text(value)) && text(value) === text(value).toUpperCase(),
};
const TEST_ALIASES: Record<string, string> = {
  equalto: 'eq',
  '==': 'eq',
  '!=': 'ne',
  '>': 'gt',
  '>=': 'ge',
  '<': 'lt',
  '<=': 'le',
  greaterthan: 'gt',
  lessthan: 'lt',
};

/** Tests that compare with an argument. */
const BINARY_TESTS = new Set(['divisibleby', 'eq', 'ge', 'gt', 'in', 'le', 'lt', 'ne', 'sameas']);

/** Throws TemplateError for an unknown test. */
export function testNamed(name: string): Test {
  const own = Object.hasOwn(TEST_ALIASES, name) ? TEST_ALIASES[name]! : name;
  const test = Object.hasOwn(TESTS, own) ? TESTS[own] : undefined;
  if (test === undefined) throw new TemplateError(`the test ${JSON.stringify(name)} is not supported`);
  return (value, args) => {
    if (args.length !== (BINARY_TESTS.has(own) ? 1 : 0))
      throw new TemplateError(`the test ${JSON.stringify(name)}: got ${args.length} arguments`);
    return test(value, args);
  };
}
