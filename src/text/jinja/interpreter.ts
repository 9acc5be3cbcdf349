// SPDX-License-Identifier: Apache-2.0
// Evaluates a chat template as Jinja does in transformers' sandbox. The parser is @huggingface/jinja's; its interpreter is not used, because it has
// JavaScript's values: True prints as "true", -7 % 3 is -1, "1" equals 1, a break loses its iteration's output.
import type { CallNode, FilterNode, Node, SliceNode } from './ast.ts';
import { filterNamed, itemOf } from './filters.ts';
import { globals } from './globals.ts';
import { Budget } from './limits.ts';
import { methodOf } from './methods.ts';
import { binary, joined, slice } from './operators.ts';
import { loopFields, Scope } from './scope.ts';
import { testNamed } from './tests.ts';
import {
  type Arguments,
  asNumber,
  Callable,
  Float,
  fromJson,
  isEqual,
  isTrue,
  iterate,
  Namespace,
  TemplateError,
  Tuple,
  text,
  typeName,
  Undefined,
  type Value,
} from './values.ts';

/** Cost of a loop iteration (its scope and `loop`), in items. */
const ROUND = 512;

class Break extends Error {}
class Continue extends Error {}

const CONSTANTS = new Map<string, Value>([
  ['true', true],
  ['True', true],
  ['false', false],
  ['False', false],
  ['none', null],
  ['None', null],
]);
/** Jinja features that are not supported. */
const REFUSED_NAMES = new Set(['lipsum', 'cycler', 'joiner', 'varargs', 'kwargs', 'self', 'super']);

/** Runs a parsed template once. */
export class Interpreter {
  readonly #budget = new Budget();
  readonly #globals = new Scope();

  constructor(variables: Record<string, unknown>) {
    for (const [name, call] of Object.entries(globals(this.#budget)))
      this.#globals.variables.set(name, new Callable(call));
    for (const [name, value] of Object.entries(variables)) this.#globals.variables.set(name, fromJson(value));
  }

  /** Throws TemplateError. */
  run(program: Node): string {
    if (program.type !== 'Program') throw new TemplateError('is no template');
    return this.#capture(program.body, new Scope(this.#globals));
  }

  #capture(body: Node[], scope: Scope): string {
    const out: string[] = [];
    this.#block(body, scope, out);
    return joined(out, this.#budget);
  }

  #block(body: Node[], scope: Scope, out: string[]): void {
    for (const node of body) this.#statement(node, scope, out);
  }

  #statement(node: Node, scope: Scope, out: string[]): void {
    this.#budget.step();
    switch (node.type) {
      case 'If':
        this.#block(isTrue(this.#value(node.test, scope)) ? node.body : node.alternate, scope, out);
        return;
      case 'For':
        this.#loop(node, scope, out);
        return;
      case 'Set':
        this.#set(node, scope);
        return;
      case 'Macro':
        scope.variables.set(node.name.value, this.#macro(node, scope));
        return;
      case 'CallStatement': {
        const caller = this.#macro({ args: node.callerArgs ?? [], body: node.body, name: { value: 'caller' } }, scope);
        out.push(text(this.#call(node.call, scope, caller)));
        return;
      }
      case 'FilterStatement':
        out.push(text(this.#filter(this.#capture(node.body, new Scope(scope)), node.filter, scope)));
        return;
      case 'Comment':
        return;
      case 'Break':
        throw new Break();
      case 'Continue':
        throw new Continue();
      default: {
        const made = text(this.#value(node, scope));
        this.#budget.take(made.length);
        out.push(made);
      }
    }
  }

  #loop(node: Extract<Node, { type: 'For' }>, scope: Scope, out: string[]): void {
    const { iterable, loopvar } = node;
    const filter = iterable.type === 'SelectExpression' ? iterable.test : undefined;
    const all = iterate(this.#value(iterable.type === 'SelectExpression' ? iterable.lhs : iterable, scope));
    this.#budget.take(all.length);
    const items = all.filter((item) => {
      if (filter === undefined) return true;
      const inner = new Scope(scope);
      this.#assign(loopvar, item, inner);
      return isTrue(this.#value(filter, inner));
    });
    let last: Value[] | undefined;
    const changed = new Callable(({ list }) => {
      const isSame = last !== undefined && isEqual(last, list);
      last = list;
      return !isSame;
    });
    for (const index of items.keys()) {
      this.#budget.take(ROUND);
      // Variables set in an iteration do not survive it.
      const inner = new Scope(scope);
      inner.variables.set('loop', loopFields(items, index, changed));
      this.#assign(loopvar, items[index]!, inner);
      try {
        this.#block(node.body, inner, out);
      } catch (control) {
        if (control instanceof Break) break;
        if (!(control instanceof Continue)) throw control;
      }
    }
    if (items.length === 0) this.#block(node.defaultBlock, new Scope(scope), out);
  }

  #set(node: Extract<Node, { type: 'Set' }>, scope: Scope): void {
    const value = node.value === null ? this.#capture(node.body, new Scope(scope)) : this.#value(node.value, scope);
    this.#assign(node.assignee, value, scope);
  }

  #assign(target: Node, value: Value, scope: Scope): void {
    if (target.type === 'Identifier') scope.variables.set(target.value, value);
    else if (target.type === 'TupleLiteral') {
      const items = iterate(value);
      if (items.length !== target.value.length)
        throw new TemplateError(`expected ${target.value.length} values to take apart, got ${items.length}`);
      for (const [index, part] of target.value.entries()) this.#assign(part, items[index]!, scope);
    } else if (target.type === 'MemberExpression' && target.property.type === 'Identifier' && !target.computed) {
      const object = this.#value(target.object, scope);
      if (!(object instanceof Namespace)) throw new TemplateError('only a namespace has fields that can be set');
      object.fields.set(target.property.value, value);
    } else throw new TemplateError(`cannot set a ${target.type}`);
  }

  #macro(node: { name: { value: string }; args: Node[]; body: Node[] }, scope: Scope): Callable {
    return new Callable(({ list, named }) => {
      const inner = new Scope(scope);
      const rest = new Map(named);
      inner.variables.set('caller', rest.get('caller') ?? new Undefined('caller'));
      rest.delete('caller');
      if (list.length > node.args.length)
        throw new TemplateError(
          `macro ${node.name.value}: expected at most ${node.args.length} arguments, got ${list.length}`,
        );
      for (const [index, parameter] of node.args.entries()) {
        const name =
          parameter.type === 'KeywordArgumentExpression' ? parameter.key.value : (parameter as { value: string }).value;
        const given = list[index] ?? rest.get(name);
        rest.delete(name);
        const fallback = () =>
          parameter.type === 'KeywordArgumentExpression' ? this.#value(parameter.value, inner) : new Undefined(name);
        inner.variables.set(name, given ?? fallback());
      }
      const [unknown] = rest.keys();
      if (unknown !== undefined) throw new TemplateError(`macro ${node.name.value}: has no argument ${unknown}`);
      return this.#capture(node.body, inner);
    });
  }

  #value(node: Node, scope: Scope): Value {
    this.#budget.step();
    switch (node.type) {
      case 'IntegerLiteral':
      case 'StringLiteral':
        return node.value;
      case 'FloatLiteral':
        return new Float(node.value);
      case 'ArrayLiteral':
        return node.value.map((item) => this.#value(item, scope));
      case 'TupleLiteral':
        return new Tuple(node.value.map((item) => this.#value(item, scope)));
      case 'ObjectLiteral':
        return new Map([...node.value].map(([key, item]) => [this.#value(key, scope), this.#value(item, scope)]));
      case 'Identifier':
        return this.#name(node.value, scope);
      case 'MemberExpression':
        return this.#member(node, scope);
      case 'CallExpression':
        return this.#call(node, scope);
      case 'FilterExpression':
        return this.#filter(this.#value(node.operand, scope), node.filter, scope);
      case 'TestExpression':
        return testNamed(node.test.value)(this.#value(node.operand, scope), []) !== node.negate;
      case 'SelectExpression':
        return isTrue(this.#value(node.test, scope)) ? this.#value(node.lhs, scope) : new Undefined('the else part');
      case 'Ternary':
        return this.#value(isTrue(this.#value(node.condition, scope)) ? node.trueExpr : node.falseExpr, scope);
      case 'UnaryExpression':
        return this.#unary(node.operator.value, this.#value(node.argument, scope));
      case 'BinaryExpression':
        return this.#binary(node, scope);
      default:
        throw new TemplateError(`${node.type} is not supported`);
    }
  }

  #name(name: string, scope: Scope): Value {
    if (CONSTANTS.has(name)) return CONSTANTS.get(name)!;
    const found = scope.get(name);
    if (found === undefined && REFUSED_NAMES.has(name)) throw new TemplateError(`${name} is not supported`);
    return found === undefined ? new Undefined(name) : found;
  }

  #unary(operator: string, value: Value): Value {
    if (operator === 'not') return !isTrue(value);
    const number = asNumber(value);
    if (number === undefined) throw new TemplateError(`${operator} of a ${typeName(value)}`);
    const signed = operator === '-' ? -number : number;
    return value instanceof Float ? new Float(signed) : signed + 0;
  }

  #binary(node: Extract<Node, { type: 'BinaryExpression' }>, scope: Scope): Value {
    const operator = node.operator.value;
    const left = this.#value(node.left, scope);
    if (operator === 'and') return isTrue(left) ? this.#value(node.right, scope) : left;
    if (operator === 'or') return isTrue(left) ? left : this.#value(node.right, scope);
    return binary(operator, left, this.#value(node.right, scope), this.#budget);
  }

  #member({ object, property, computed }: Extract<Node, { type: 'MemberExpression' }>, scope: Scope): Value {
    const value = this.#value(object, scope);
    if (property.type === 'SliceExpression') return this.#slice(value, property, scope);
    if (computed || property.type !== 'Identifier') return itemOf(value, this.#value(property, scope), this.#budget);
    // A dot finds the method first: m.items is dict.items, m['items'] the item.
    return methodOf(value, property.value, this.#budget) ?? itemOf(value, property.value, this.#budget);
  }

  #slice(value: Value, node: SliceNode, scope: Scope): Value {
    const bound = (part: Node | undefined): number | undefined => {
      const limit = part === undefined ? null : this.#value(part, scope);
      if (limit === null) return undefined;
      const number = asNumber(limit);
      if (number === undefined || limit instanceof Float) throw new TemplateError('a slice: expected whole numbers');
      return number;
    };
    return slice(value, bound(node.start), bound(node.stop), bound(node.step), this.#budget);
  }

  #arguments(nodes: Node[], scope: Scope): Arguments {
    const list: Value[] = [];
    const named = new Map<string, Value>();
    for (const node of nodes) {
      if (node.type === 'KeywordArgumentExpression') named.set(node.key.value, this.#value(node.value, scope));
      else if (node.type === 'SpreadExpression') list.push(...iterate(this.#value(node.argument, scope)));
      else if (node.type === 'KeywordSpreadExpression') {
        const values = this.#value(node.argument, scope);
        if (!(values instanceof Map)) throw new TemplateError(`** expected a dict, got ${typeName(values)}`);
        for (const [key, value] of values) named.set(text(key), value);
      } else list.push(this.#value(node, scope));
    }
    return { list, named };
  }

  #call(node: CallNode, scope: Scope, caller?: Callable): Value {
    const callee = this.#value(node.callee, scope);
    if (callee instanceof Undefined) throw new TemplateError(`${callee.name} is undefined`);
    if (!(callee instanceof Callable)) throw new TemplateError(`a ${typeName(callee)} cannot be called`);
    const args = this.#arguments(node.args, scope);
    if (caller !== undefined) args.named.set('caller', caller);
    return callee.call(args);
  }

  #filter(value: Value, node: FilterNode, scope: Scope): Value {
    if (node.type === 'Identifier') return filterNamed(node.value)(value, { list: [], named: new Map() }, this.#budget);
    if (node.callee.type !== 'Identifier') throw new TemplateError('a filter must be a name');
    return filterNamed(node.callee.value)(value, this.#arguments(node.args, scope), this.#budget);
  }
}
