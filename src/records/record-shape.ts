// SPDX-License-Identifier: Apache-2.0
// The record's definition: the parser, the JSON Schema and the check of man 5 vpref-records use this table.
import {
  anyObject,
  anything,
  arrayOf,
  boolean,
  count,
  described,
  either,
  integer,
  type JsonSchema,
  mapOf,
  nonEmptyString,
  nothing,
  number,
  object,
  oneOf,
  type Shape,
  string,
  tagged,
} from './field.ts';
import type { VprefRecord } from './record.ts';
import { RECORDED_SETTINGS } from './sampling-settings.ts';

const contentPart = tagged('type', { image: object({}), text: object({ text: string }) });
const message = object({
  role: oneOf('system', 'user', 'assistant'),
  content: either(string, arrayOf(contentPart, 'an array of content parts'), nothing),
});
const imagePath = { ...nonEmptyString, expected: 'a path or data: URI' } as Shape<string>;
const images = arrayOf(path(imagePath), 'an array of paths');
const oneOrMoreNumbers = either(number, arrayOf(number));
const adapter = either(string, arrayOf(string), nothing);

const view = object(
  { name: nonEmptyString, ops: arrayOf(object({ op: nonEmptyString }, {}, 'an operation {op, ...}')), seed: number },
  { images },
  'a view {name, ops, seed}',
);
const response = object(
  { text: string },
  {
    turns: arrayOf(string),
    view: string,
    label: string,
    logps: number,
    logps_original: number,
    num_tokens: count,
    endpoint_logps: number,
    endpoint_per_token_logps: arrayOf(number),
    endpoint_tokens: arrayOf(string),
    per_token_logps: arrayOf(number),
    tokens: arrayOf(string),
    drift: mapOf(arrayOf(number)),
    finish_reason: oneOf('stop', 'length', 'repetition', 'error'),
    stop: string,
    seed: number,
  },
  'a response {text, ...}',
);
const sampling = object(
  { model: string },
  {
    adapter,
    template: string,
    template_args: anyObject,
    image_mode: string,
    max_pixels: count,
    min_pixels: count,
    quantize: string,
    ...Object.fromEntries(RECORDED_SETTINGS.map((field) => [field, number])),
    stop: arrayOf(string),
    steer: mapOf(number),
    seed: number,
    dtype: string,
  },
);
const annotation = object(
  {
    guide: string,
    judge: string,
    run: integer,
    outcome: oneOf(
      'ok',
      'refused',
      'truncated',
      'empty',
      'unparsable',
      'rate-limited',
      'quota-exhausted',
      'auth',
      'invalid',
      'transport',
    ),
  },
  {
    order: arrayOf(count),
    scores: arrayOf(either(mapOf(number), nothing), 'an array with one object of numbers, or null, per response'),
    mass: arrayOf(either(mapOf(number), nothing), 'an array with one object of numbers, or null, per response'),
    claims: arrayOf(
      arrayOf(object({ text: string, p_yes: number, mass: number }, {}, 'a claim {text, p_yes, mass}')),
      'an array with the list of claims of each response',
    ),
    verdict: anything,
    own_response: string,
    text: string,
    usage: mapOf(number),
    prompt_sha256: string,
  },
  'an annotation {guide, judge, run, outcome, ...}',
);
const ref = object(
  { model: string },
  {
    adapter,
    dtype: string,
    template: string,
    template_args: anyObject,
    image_mode: string,
    max_pixels: count,
    min_pixels: count,
    quantize: string,
    inputs: string,
  },
);

/** Fields that every record has. */
export const requiredFields = {
  id: described(nonEmptyString, 'unique in a file; rows derived from one record get id#k'),
  prompt: described(
    either(string, arrayOf(message, 'an array of messages')),
    'one user turn, or the conversation; <image> in a string marks where each image goes, else the images come first in the first user turn; assistant content null is a turn that sample generates',
  ),
} satisfies Partial<Record<keyof VprefRecord, Shape>>;

/** Fields that stages add, in the order of man 5 vpref-records. */
export const optionalFields = {
  group: described(string, 'id of the record that this row was derived from'),
  images: described(images, 'file paths or data: URIs, 0..n'),
  reference: described(either(string, arrayOf(string)), 'ground-truth answer, or a list of accepted ones'),
  choices: described(arrayOf(string), 'answer options'),
  context: described(anything, 'context for the judge only: captions, regions, facts'),
  source: described(string, 'where the record comes from, such as "llava665k/textvqa"'),
  meta: described(anyObject, 'free object'),
  sampling_params: described(anyObject, 'sampling settings of this record that sample honours'),
  views: described(arrayOf(view, 'an array of views'), 'distorted versions of the images, written by augment'),
  responses: described(arrayOf(response, 'an array of responses'), 'answers, written by sample or imported'),
  choice_logps: described(arrayOf(number), 'log-probability of each of choices, nats, written by score'),
  sampling: described(sampling, 'model and settings that produced responses'),
  annotations: described(
    arrayOf(annotation, 'an array of annotations'),
    'one entry per judge run; the only place of scores',
  ),
  chosen: described(string, 'preferred answer, written by pair'),
  rejected: described(either(string, arrayOf(string)), 'dispreferred answer, or K of them, written by pair'),
  chosen_score: described(number, 'score of chosen under the rule of pair'),
  rejected_score: described(oneOrMoreNumbers, 'score of each rejected under the rule of pair'),
  pair: described(object({ rule: string }, {}, 'an object {rule, ...}'), 'why pair chose as it did'),
  rejected_images: described(
    either(images, arrayOf(images, 'an array of arrays of paths')),
    'image-side negatives (mDPO): one set of images, or several',
  ),
  response: described(string, 'single response to train on: sft, rejection sampling, steerlm, kto'),
  label: described(boolean, 'whether response is desirable, for kto'),
  weight: described(anything, 'weight of the record in the loss of its step (train); not used unless a number'),
  beta: described(anything, "beta of this record, instead of train's --beta; not used unless a number"),
  ref_chosen_logps: described(number, 'summed log-probability of chosen under the reference, nats'),
  ref_rejected_logps: described(oneOrMoreNumbers, 'the same for each rejected'),
  ref_chosen_logps_rejected_images: described(
    oneOrMoreNumbers,
    'the same for chosen given each set of rejected_images',
  ),
  ref_response_logps: described(number, 'the same for response'),
  policy_chosen_logps: described(number, 'summed log-probability of chosen under the policy, nats, written by score'),
  policy_rejected_logps: described(oneOrMoreNumbers, 'the same for each rejected'),
  policy_response_logps: described(number, 'the same for response'),
  ref: described(ref, 'fingerprint of what computed the ref_* fields'),
  error: described(
    object({ stage: string, code: string, message: string }),
    'why this row failed; later stages pass it through',
  ),
} satisfies Partial<Record<keyof VprefRecord, Shape>>;

export const recordShape = object(requiredFields, optionalFields, 'an object');

/** The JSON Schema of one line of a record file (draft 2020-12). */
export function recordJsonSchema(): JsonSchema {
  return {
    $schema: 'https://json-schema.org/draft/2020-12/schema',
    $id: 'https://vpref.dev/schema/record.schema.json',
    title: 'vpref record',
    description: 'One line of a vpref record file; unknown fields are allowed and pass through every stage',
    ...recordShape.schema,
  };
}

function path(shape: Shape<string>): Shape<string> {
  return { ...shape, check: (value) => withExpected(shape.expected, nonEmptyString.check(value)) };
}

function withExpected(expected: string, problem: ReturnType<Shape['check']>) {
  return problem && { ...problem, expected };
}
