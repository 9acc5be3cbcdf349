#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What Jinja makes of small templates in transformers' environment, to fixtures/golden/text/jinja.json.

transformers 5.18.0, jinja2 3.1.6. Run from the root: python3 scripts/goldens/jinja.py
A row: {template, text} or {template, error} (the exception's class).
"""
import json
import re

import jinja2
import transformers
from transformers.utils.chat_template_utils import render_jinja_template

MESSAGES = [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": " Is there a dog? "},
    {"role": "assistant", "content": "<think>hm</think>\n\nNo, a \u00e9\U0001F642 cat."},
    {"role": "user", "content": "What\ncolor?\n"},
]
EXPRESSIONS = """
-7 % 3|7 // 2|-7 // 2|7 / 2|2 ** 3|2 ** -1|1.0|10.0 ** 20|0.00001|1.5 + 1|3 * 'ab'|'ab' * 3|[1, 2] * 2|[1] + [2]|'%s-%d' % ('a', 3)|'%s' | format('x')|'a' ~ 1 ~ none ~ true
true|none|[1, 'a', none, true, 1.0]|{'a': 1, 'b': 'it\\'s'}|(1, 'x')|"it's"|['it\\'s', 'say "x"']|undefined_name|undefined_name.x|undefined_name + 'a'|'a' + undefined_name|'a' + 1
'1' == 1|1 == 1.0|true == 1|[1] == [1]|{'a': 1} == {'a': 1}|none == false|'' == none|undefined_name == other|1 in [1.0]|'a' in 'cat'|1 in 'cat'|'a' in {'a': 1}|'x' in undefined_name|none in [none]
'a' < 'b'|1 < 'a'|[1, 2] < [1, 3]|not true|not ''|not []|'' or 'x'|'a' and 'b'|1 if true else 2|1 if false
messages[-1].content[:4]|messages[2].content[-6:]|messages[2].content | length|messages[2].content[19]|messages[2].content[20]|'abc'[::-1]|'abc'[5]|[1, 2, 3][1:]|[1, 2, 3][::-1]|[1, 2][9]|[1, 2, 3, 4][::2]|'abc'[1:2]
messages | length|messages | map(attribute='role') | join('/')|messages | selectattr('role', 'equalto', 'user') | list | length|messages | rejectattr('role', 'equalto', 'user') | map(attribute='role') | list|messages | selectattr('x') | list|messages | selectattr('role', 'in', ['user', 'system']) | list | length
[3, 1, 2] | sort | first|['b', 'A', 'c'] | sort|['b', 'A'] | sort(case_sensitive=true)|[1, 2] | sort(reverse=true)|messages | sort(attribute='role') | map(attribute='role') | list|[1, 1, 2] | unique | list|['a', 'A'] | unique | list|[1, 2] | sum|[1, 5, 2] | max|[1, 5, 2] | min|[] | first|[] | last|{'b': 1, 'a': 2} | dictsort|{'b': 1} | items | list
'  a b ' | trim|'xxaxx' | trim('x')|'hello wORLD it\\'s a-b' | title|'hELLO' | capitalize|'Ab' | upper|'Ab' | lower|'a,b' | replace(',', ';')|'aaa' | replace('a', 'b', 2)|'abc' | reverse|'12' | int|'x' | int|'1.9' | int|'x' | int(7)|2.7 | int|'1.5' | float|-3 | abs|none | default('d')|undefined_name | default('d')|'' | default('d', true)|'a\nb\n\nc' | indent|'a\nb' | indent(2, true)|'abc' | list|'a' | safe
'a,b,c'.split(',')|'a b  c'.split()|'a,b,c'.split(',', 1)|'a,b,c'.rsplit(',', 1)|' a '.strip()|' a '.lstrip() ~ '|'|' a '.rstrip() ~ '|'|'xax'.strip('x')|'abc'.startswith('ab')|'abc'.startswith(('x', 'a'))|'abc'.endswith('c')|'abc'.replace('b', 'x')|'-'.join(['a', 'b'])|'abc'.find('c')|'a b'.title()|'it\\'s'.title()|'aXb'.capitalize()|'x'.upper()|'a\nb'.splitlines()|'aba'.count('a')|'abc'.removeprefix('a')|'12'.isdigit()|''.isdigit()|'a'.nothing|'a'.nothing()
{'a': 1}.items() | list|{'a': 1}.keys() | list|{'a': 1}.get('b')|{'a': 1}.get('b', 2)|{'items': 5}.items() | list|{'items': 5}['items']|{'a': {'b': 3}}.a.b|{'a': 1}['b']|{1: 2}[1]|{'a': 1}.a
{'a': [1, 2.0, true, none], 'b': '<\u00e9>\"'} | tojson|{'b': 1, 'a': [1, {}], 'c': []} | tojson(indent=2)|{'b': 1, 'a': 2} | tojson(sort_keys=true)|'\u00e9' | tojson(ensure_ascii=true)|[1, 2] | tojson(separators=(',', ':'))|'a/b</script>' | tojson
x is defined|messages is defined|tools is defined|tools is none|'a' is string|1 is number|true is number|true is integer|1 is integer|1.0 is float|1.0 is integer|[] is iterable|'a' is iterable|{} is mapping|{} is sequence|'a' is sequence|none is none|true is true|1 is true|2 is even|3 is odd|-3 is odd|'ab' is lower|'AB' is upper|'1' is lower|raise_exception is callable|x is undefined|x is not defined|false is boolean
range(3) | list|range(1, 7, 2) | list|range(3, 0, -1) | list|range(3) | length|namespace(a=1).a|dict(a=1, b='x')|raise_exception('no')|range(10 ** 12)|[1, 2].append(3)
"""
STATEMENTS = [
    "{% for x in [1, 2, 3] %}{{ x }}{% if x == 2 %}{% break %}{% endif %},{% endfor %}",
    "{% for x in [1, 2, 3] %}a{% if x == 2 %}{% continue %}{% endif %}{{ x }}{% endfor %}",
    "{% for x in [] %}a{% else %}none{% endfor %}",
    "{% for x in [1, 2, 3] if x != 2 %}{{ loop.index }}:{{ x }}{{ loop.last }} {% endfor %}",
    "{% for k, v in {'a': 1, 'b': 2}.items() %}{{ k ~ v }}{{ ',' if not loop.last }}{% endfor %}",
    "{% for x in ['a', 'b', 'c'] %}{{ loop.cycle('1', '2') }}{{ loop.previtem }}{{ loop.nextitem }}{{ loop.revindex0 }}{% endfor %}",
    "{% set x = 1 %}{% for i in [1, 2] %}{{ x }}{% set x = x + 1 %}{{ x }}{% endfor %}{{ x }}",
    "{% for i in [1, 2] %}{{ y is defined }}{% set y = 1 %}{% endfor %}{{ y is defined }}",
    "{% set ns = namespace(n=0, last='') %}{% for m in messages %}{% set ns.n = ns.n + 1 %}{% set ns.last = m.role %}{% endfor %}{{ ns.n }}{{ ns.last }}",
    "{% if false %}a{% elif 1 > 2 %}b{% else %}c{% endif %}{% if true %}{% set z = 5 %}{% endif %}{{ z }}",
    "{%- macro turn(m, first=false) -%}{{ '' if first else '|' }}{{ m.role | upper }}{%- endmacro -%}{% for m in messages %}{{ turn(m, loop.first) }}{% endfor %}",
    "{% macro f(a, b='x') %}[{{ a }}{{ b }}]{% endmacro %}{{ f(1) }}{{ f(1, 2) }}{{ f(b=3, a=4) }}{{ f() }}",
    "{% macro f(a) %}{{ a }}{{ q }}{% endmacro %}{% set q = 'late' %}{{ f(1) }}",
    "{% macro f() %}<{{ caller() }}>{% endmacro %}{% call f() %}body{% endcall %}",
    "{% macro f() %}x{% endmacro %}{{ f(1) }}",
    "{% set s %}a{{ 1 }}b{% endset %}{{ s | upper }}",
    "{% filter upper %}abc{{ 'x' }}{% endfilter %}",
    "{% set a, b = 1, 2 %}{{ a + b }}",
    "{% set a, b = [1] %}{{ a }}",
    "{# c #}x  {#- c -#}  y\n  {% if true %}\nline\n  {% endif %}\nend\n",
    "a\n{%- if true -%}\n b \n{%- endif %}\nc",
    "{{- 'a' -}}\n  b {{ ' c' }}\n\n",
    "{% generation %}a{% endgeneration %} b {%- generation -%} c {% endgeneration %}",
    "a\r\nb\r\n{{ 'c' }}",
    "{{ messages }}",
    "{% for m in messages %}{{ m['role'] }}{{ m.content.split('</think>')[-1].lstrip('\\n') if '</think>' in m.content else m.content | trim }};{% endfor %}",
    "{% for m in messages[1:] | reverse %}{{ loop.index0 }}{{ m.role }}{% endfor %}",
    "{% for c in undefined_name %}x{% endfor %}y",
    "{% for c in none %}x{% endfor %}",
    "{{ strftime_now is defined }}{{ enable_thinking is defined and enable_thinking is false }}",
    "{% set x = 'a' if messages[0].role == 'system' else 'b' %}{{ x }}{{ \"a\" \"b\" }}",
    "{{ 'a' if true }}{{ 'b' if false }}{{ -1 | abs }}{{ 2 + 3 | string }}",
    "{{ 1 + 2 ~ 'a' }}{{ 'x' ~ 1 + 2 }}",
    "{{ not 'a' in 'b' }}{{ 1 == 1 and 2 == 2 or false }}{{ (1, 2) + (3, 4) }}",
]


def row(template):
    try:
        return {"template": template, "text": render_jinja_template([MESSAGES], chat_template=template)[0][0]}
    except Exception as error:  # noqa: BLE001 every kind of failure is a row
        return {"template": template, "error": type(error).__name__}


def main():
    lines = [line.replace("' ~ '|'", "' ~ '\x00'") for line in EXPRESSIONS.strip().split("\n")]
    # A bar without blanks around it parts two expressions; one with blanks is a filter.
    parts = [p for line in lines for p in re.split(r"(?<! )\|(?! )", line)]
    templates = ["{{ " + p.replace("\x00", "|") + " }}" for p in parts] + STATEMENTS
    out = {"transformers": transformers.__version__, "jinja2": jinja2.__version__, "messages": MESSAGES, "rows": [row(t) for t in templates]}
    with open("fixtures/golden/text/jinja.json", "w") as file:
        file.write(json.dumps(out, indent=1, ensure_ascii=True) + "\n")


main()
