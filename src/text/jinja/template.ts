// SPDX-License-Identifier: Apache-2.0
// Parses a chat template with @huggingface/jinja, within limits.
import type { Node } from './ast.ts';
import { Interpreter } from './interpreter.ts';
import { MAX_BLANKS, MAX_SOURCE } from './limits.ts';
import { TemplateError } from './values.ts';

/** A parsed template. */
export interface JinjaTemplate {
  /** Throws TemplateError for the template's exceptions and errors, and for unsupported features. */
  render(variables: Record<string, unknown>): string;
}

/** Parses a template. Throws TemplateError. */
export async function parseTemplate(source: string): Promise<JinjaTemplate> {
  if (source.length > MAX_SOURCE)
    throw new TemplateError(`expected at most ${MAX_SOURCE} characters, got ${source.length}`);
  if (new RegExp(`\\s{${MAX_BLANKS}}`).test(source))
    throw new TemplateError(`has more than ${MAX_BLANKS} blanks in a row`);
  const { parse, tokenize } = await import('@huggingface/jinja');
  const program = guarded(() => {
    const tokens = tokenize(source.replace(/\r\n?/g, '\n'), { lstrip_blocks: true, trim_blocks: true });
    refuseChains(tokens);
    return parse(tokens) as unknown as Node;
  });
  return { render: (variables) => guarded(() => new Interpreter(variables).run(program)) };
}

// Nesting is limited by the stack; the parser throws plain errors.
function guarded<T>(work: () => T): T {
  try {
    return work();
  } catch (cause) {
    if (cause instanceof TemplateError) throw cause;
    if (cause instanceof RangeError) throw new TemplateError('is nested too deeply');
    throw new TemplateError((cause as Error).message);
  }
}

// `a < b < c` is two comparisons in Jinja and one of a truth value in the parser's tree, where (a < b) < c looks the same.
function refuseChains(tokens: readonly { type: string; value: string }[]): void {
  const isCompared = [false];
  for (const [index, { type, value }] of tokens.entries()) {
    if (type === 'Text' || type === 'StringLiteral' || type === 'Comment') continue;
    if (value === '(' || value === '[' || value === '{') isCompared.push(false);
    else if (value === ')' || value === ']' || value === '}') isCompared.pop();
    else if (COMPARISONS.has(value)) {
      if (isCompared.at(-1)) throw new TemplateError('a chain of comparisons (a < b < c) is not supported');
      isCompared[isCompared.length - 1] = true;
    } else if (BETWEEN.has(value) && !(value === 'not' && tokens[index + 1]?.value === 'in'))
      isCompared[isCompared.length - 1] = false;
  }
}

/** Tokens that end a comparison. */
const BETWEEN = new Set(['and', 'or', 'not', 'if', 'else', ',', '=', ':', '%}', '}}', '{%', '{{']);
const COMPARISONS = new Set(['==', '!=', '<', '<=', '>', '>=', 'in']);
