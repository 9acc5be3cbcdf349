// SPDX-License-Identifier: Apache-2.0
// `reply: json`: comments before numbers, strictly by the schema; flat for one response, by label for several.
import { repeatedKey } from '../../../records/exact.ts';
import { describeJsonError } from '../../../records/json-error.ts';
import { type ReplySchema, schemaProblem } from '../schema.ts';
import type { ReadResult, ReplyContext, ReplyReader } from './reading.ts';

export const jsonReply: ReplyReader = { schema: jsonSchema, read: readJson };

function jsonSchema(context: ReplyContext): ReplySchema {
  const one = (): ReplySchema => ({ type: 'object', properties: ratingProperties(context) });
  const properties: Record<string, ReplySchema> = {};
  if (context.ownResponse) {
    properties.own_response = { type: 'string', description: 'your own answer to the question' };
  }
  properties.ratings = {
    type: 'object',
    properties: Object.fromEntries(context.labels.map((label) => [label, one()])),
  };
  return { type: 'object', properties };
}

function ratingProperties(context: ReplyContext): Record<string, ReplySchema> {
  const properties: Record<string, ReplySchema> = {};
  if (context.comment) properties.comment = { type: 'string', description: 'reasons, before any number' };
  for (const { name, type, minimum, maximum } of context.scores) properties[name] = { type, minimum, maximum };
  return properties;
}

function readJson(text: string, context: ReplyContext): ReadResult {
  const json = withoutFence(text);
  let reply: unknown;
  try {
    reply = JSON.parse(json);
  } catch {
    return { problem: `expected one JSON object and nothing else: ${describeJsonError(json)}` };
  }
  const problem = schemaProblem(jsonSchema(context), reply) ?? repetition(reply, json);
  if (problem !== undefined) return { problem };
  const { own_response, ratings } = reply as { own_response?: string; ratings: Record<string, Record<string, number>> };
  const names = context.scores.map((score) => score.name);
  const scores = context.labels.map((label) => Object.fromEntries(names.map((name) => [name, ratings[label]![name]!])));
  return { reading: { scores, ...(own_response === undefined ? {} : { ownResponse: own_response }) } };
}

/** JSON.parse keeps the last of repeated keys, so a reply with two grades would pass. */
const repetition = (reply: unknown, json: string) =>
  repeatedKey(reply, json) && 'expected each key once, got one that is repeated';

const FENCE = /^[ \t]*(`{3,}|~{3,})[^\S\n]*([\w+-]*)[^\S\n]*\n?([\s\S]*?)\n?[ \t]*\1[`~]*[ \t]*$/gm;

/** Models without a JSON mode wrap the object in a code fence; its content is unchanged. */
function withoutFence(text: string): string {
  const fenced = [...text.matchAll(FENCE)];
  // With two objects it is unclear which counts.
  if (fenced.length === 1) return fenced[0]![3]!;
  return /^\s*json\s*\n([\s\S]*)$/i.exec(text)?.[1] ?? text;
}
