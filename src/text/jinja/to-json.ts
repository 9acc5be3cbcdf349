// SPDX-License-Identifier: Apache-2.0
// The filter tojson of transformers: Python's json.dumps, without escapes of HTML.
import type { Budget } from './limits.ts';
import {
  type Arguments,
  asNumber,
  Float,
  isTrue,
  repr,
  sequence,
  TemplateError,
  text,
  typeName,
  type Value,
} from './values.ts';

interface JsonStyle {
  indent: string | undefined;
  item: string;
  key: string;
  isAscii: boolean;
  isSorted: boolean;
}

export function toJson(value: Value, { list, named }: Arguments, budget: Budget): string {
  const argument = (at: number, name: string) => list[at] ?? named.get(name) ?? null;
  const indent = argument(1, 'indent');
  const separators = argument(2, 'separators');
  const [item, key] =
    separators === null ? [indent === null ? ', ' : ',', ': '] : (sequence(separators) ?? []).map(text);
  if (item === undefined || key === undefined) throw new TemplateError('tojson: separators: expected a pair');
  return dump(value, '\n', budget, {
    indent: indent === null ? undefined : typeof indent === 'string' ? indent : ' '.repeat(asNumber(indent) ?? 0),
    item,
    key,
    isAscii: isTrue(argument(0, 'ensure_ascii')),
    isSorted: isTrue(argument(3, 'sort_keys')),
  });
}

function dump(value: Value, line: string, budget: Budget, style: JsonStyle): string {
  budget.step();
  if (typeof value === 'string') return quoted(value, style);
  if (value === null) return 'null';
  if (typeof value === 'boolean' || typeof value === 'number') return String(value);
  if (value instanceof Float) return Number.isFinite(value.value) ? repr(value) : nonFinite(value.value);
  const inner = style.indent === undefined ? '' : line + style.indent;
  const close = style.indent === undefined ? '' : line;
  const wrap = (open: string, items: string[], end: string) =>
    items.length === 0 ? open + end : `${open}${inner}${items.join(style.item + inner)}${close}${end}`;
  const items = sequence(value);
  if (items !== undefined)
    return wrap(
      '[',
      items.map((one) => dump(one, inner, budget, style)),
      ']',
    );
  if (!(value instanceof Map)) throw new TemplateError(`tojson: a ${typeName(value)} is not JSON`);
  const entries = [...value].map(([key, one]) => [typeof key === 'string' ? key : text(key), one] as const);
  if (style.isSorted) entries.sort(([a], [b]) => (a < b ? -1 : 1));
  return wrap(
    '{',
    entries.map(([key, one]) => quoted(key, style) + style.key + dump(one, inner, budget, style)),
    '}',
  );
}

// JSON.stringify escapes lone surrogates and Python does not, but Python's texts have none.
function quoted(value: string, { isAscii }: JsonStyle): string {
  const json = JSON.stringify(value);
  return isAscii
    ? json.replace(/[\x7f-\uffff]/g, (char) =>
        char === '\x7f' ? char : `\\u${char.charCodeAt(0).toString(16).padStart(4, '0')}`,
      )
    : json;
}

function nonFinite(value: number): string {
  return Number.isNaN(value) ? 'NaN' : value > 0 ? 'Infinity' : '-Infinity';
}
