// SPDX-License-Identifier: Apache-2.0
// Variables in scope, and `loop` inside a loop.
import { Callable, Namespace, Undefined, type Value } from './values.ts';

/** Names and values, with a parent scope. */
export class Scope {
  readonly variables = new Map<string, Value>();
  readonly parent: Scope | undefined;
  constructor(parent?: Scope) {
    this.parent = parent;
  }
  get(name: string): Value | undefined {
    return this.variables.has(name) ? this.variables.get(name) : this.parent?.get(name);
  }
}

/** `loop` in iteration `index`. */
export function loopFields(items: Value[], index: number, changed: Callable): Namespace {
  const { length } = items;
  const cycle = new Callable(({ list }) => list[index % list.length] ?? new Undefined('cycle'));
  return new Namespace(
    new Map<string, Value>([
      ['index', index + 1],
      ['index0', index],
      ['revindex', length - index],
      ['revindex0', length - index - 1],
      ['first', index === 0],
      ['last', index === length - 1],
      ['length', length],
      ['depth', 1],
      ['depth0', 0],
      ['previtem', items[index - 1] ?? new Undefined('there is no previous item')],
      ['nextitem', items[index + 1] ?? new Undefined('there is no next item')],
      ['changed', changed],
      ['cycle', cycle],
    ]),
  );
}
