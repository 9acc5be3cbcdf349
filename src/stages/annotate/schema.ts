// SPDX-License-Identifier: Apache-2.0
// The schema of a judge's JSON reply: built once per call, sent in each API's dialect, checked strictly.

/** The schema of a reply. Every property is required, and no other is allowed. */
export type ReplySchema =
  | { type: 'object'; properties: Record<string, ReplySchema> }
  | { type: 'string'; description?: string }
  | NumberSchema;

interface NumberSchema {
  type: 'integer' | 'number';
  minimum: number;
  maximum: number;
  description?: string;
}

/** The first problem of a value, as `ratings.A.helpfulness: expected X, got Y`; undefined if it fits. */
export function schemaProblem(schema: ReplySchema, value: unknown, path = 'reply'): string | undefined {
  if (schema.type === 'string') return typeof value === 'string' ? undefined : wrong(path, 'a string', value);
  if (schema.type !== 'object') return numberProblem(schema, value, path);
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return wrong(path, 'an object', value);
  for (const [name, inner] of Object.entries(schema.properties)) {
    if (!Object.hasOwn(value, name)) return `${path}.${name}: expected ${describe(inner)}, got nothing`;
    const problem = schemaProblem(inner, (value as Record<string, unknown>)[name], `${path}.${name}`);
    if (problem !== undefined) return problem;
  }
  const extra = Object.keys(value).find((name) => !Object.hasOwn(schema.properties, name));
  return extra === undefined ? undefined : `${path}: expected no property "${extra.slice(0, 40)}"`;
}

function numberProblem(schema: NumberSchema, value: unknown, path: string): string | undefined {
  const isKind = schema.type === 'integer' ? Number.isInteger(value) : typeof value === 'number';
  const isInside = isKind && (value as number) >= schema.minimum && (value as number) <= schema.maximum;
  return isInside ? undefined : wrong(path, describe(schema), value);
}

function describe(schema: ReplySchema): string {
  if (schema.type === 'object') return 'an object';
  if (schema.type === 'string') return 'a string';
  return `${schema.type === 'integer' ? 'an integer' : 'a number'} in ${schema.minimum}..${schema.maximum}`;
}

function wrong(path: string, expected: string, got: unknown): string {
  return `${path}: expected ${expected}, got ${JSON.stringify(got).slice(0, 60)}`;
}

/** Largest integer range that is written as `enum`, because strict modes refuse `minimum`. */
const MAX_ENUM = 32;

/** JSON Schema as OpenAI's strict mode, vLLM and Anthropic's tools take it. */
export function toJsonSchema(schema: ReplySchema): Record<string, unknown> {
  if (schema.type === 'object') {
    return {
      type: 'object',
      properties: mapValues(schema.properties, toJsonSchema),
      required: Object.keys(schema.properties),
      additionalProperties: false,
    };
  }
  const about = schema.description === undefined ? {} : { description: schema.description };
  if (schema.type === 'string') return { type: 'string', ...about };
  const size = schema.maximum - schema.minimum + 1;
  if (schema.type === 'number' || size > MAX_ENUM) return { type: schema.type, ...about };
  return { type: 'integer', ...about, enum: Array.from({ length: size }, (_, step) => schema.minimum + step) };
}

/** Gemini's responseSchema: the OpenAPI subset with its own order of properties. */
export function toGeminiSchema(schema: ReplySchema): Record<string, unknown> {
  if (schema.type === 'object') {
    const names = Object.keys(schema.properties);
    const properties = mapValues(schema.properties, toGeminiSchema);
    return { type: 'OBJECT', properties, required: names, propertyOrdering: names };
  }
  return { ...schema, type: schema.type.toUpperCase() };
}

function mapValues<A, B>(from: Record<string, A>, fn: (value: A) => B): Record<string, B> {
  return Object.fromEntries(Object.entries(from).map(([name, value]) => [name, fn(value)]));
}
