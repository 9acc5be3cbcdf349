// SPDX-License-Identifier: Apache-2.0
// Covers src/text/jinja/ast.ts src/text/jinja/filters.ts src/text/jinja/interpreter.ts src/text/jinja/limits.ts src/text/jinja/methods.ts
// Covers src/text/jinja/operators.ts src/text/jinja/scope.ts src/text/jinja/tests.ts src/text/jinja/to-json.ts src/text/jinja/values.ts
import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { test } from 'node:test';
import { parseTemplate } from '../../src/text/jinja/template.ts';

interface Row {
  template: string;
  text?: string;
  error?: string;
}

const golden: { messages: unknown[]; rows: Row[] } = JSON.parse(
  await readFile('fixtures/golden/text/jinja.json', 'utf8'),
);
const render = async (source: string, variables: Record<string, unknown> = {}) =>
  (await parseTemplate(source)).render({ tools: null, documents: null, add_generation_prompt: false, ...variables });

test("expressions, filters, tests and statements print what transformers' Jinja prints, and fail where it fails", async () => {
  for (const { template, text } of golden.rows) {
    const made = render(template, { messages: golden.messages, strftime_now: 'there' });
    if (text === undefined) await assert.rejects(made, template);
    else assert.equal(await made, text, template);
  }
});

test('what is not supported is refused by name', async () => {
  const cases: [string, RegExp][] = [
    ["{{ 'a' | center }}", /filter "center" is not supported/],
    ["{{ [1] | select('filter') | list }}", /test "filter" is not supported/],
    ["{{ 'a'.swapcase() }}", /str\.swapcase\(\) is not supported/],
    ['{{ cycler(1) }}', /cycler is not supported/],
    ['{{ 1 < 2 < 3 }}', /chain of comparisons/],
    ["{{ ('<' | safe) | upper }}", /upper after safe/],
    ['{% include "x" %}', /include/],
  ];
  for (const [template, message] of cases) await assert.rejects(render(template), message, template);
});

test('a template that would take too long or too much memory is refused', async () => {
  const cases: [string, RegExp][] = [
    ['{{ range(10 ** 12) | length }}', /range: expected at most 100000/],
    ["{{ 'a' * 10 ** 9 }}", /more than \d+ items/],
    ['{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}', /more than \d+ steps/],
    [
      "{% set ns = namespace(s='ab') %}{% for i in range(99) %}{% set ns.s = ns.s + ns.s %}{% endfor %}",
      /more than \d+/,
    ],
    ['{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}', /nested too deeply|steps/],
    [
      '{% set ns = namespace(l=[1]) %}{% for i in range(60) %}{% set ns.l = [ns.l, ns.l] %}{% endfor %}{{ ns.l }}',
      /parts/,
    ],
    [`{{ ${'('.repeat(50_000)}1${')'.repeat(50_000)} }}`, /nested too deeply/],
    [' '.repeat(300_000), /blanks in a row/],
    ['a'.repeat(600_000), /at most \d+ characters/],
  ];
  for (const [template, message] of cases) await assert.rejects(render(template), message, template.slice(0, 60));
});
