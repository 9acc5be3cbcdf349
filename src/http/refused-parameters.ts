// SPDX-License-Identifier: Apache-2.0
// Parameters that a server refused in this run. After a 400 that names one, the call and all later ones omit
// it.
import type { Attempt } from './attempt.ts';
import { parseJson } from './chat.ts';
import type { HttpReply } from './client.ts';

type Body = Record<string, unknown>;

/** Optional parameters of a call, with the names of all APIs, and their other spelling if any. */
const PARAMETERS: Record<string, string | undefined> = {
  max_tokens: 'max_completion_tokens',
  max_completion_tokens: 'max_tokens',
  ...Object.fromEntries(
    ['top_p', 'topP', 'top_k', 'topK', 'temperature', 'stop', 'stop_sequences', 'stopSequences', 'seed'].map((name) => [
      name,
      undefined,
    ]),
  ),
  ...Object.fromEntries(
    ['n', 'response_format', 'thinkingConfig', 'responseSchema', 'responseMimeType'].map((name) => [name, undefined]),
  ),
};

const REFUSAL =
  /unsupported|not support|deprecat|unrecogni[sz]ed|unknown|unexpected|not permitted|not allowed|cannot both|can't both|extra (?:inputs|fields)|extra_forbidden|only the default|no longer|instead|not available|not enabled/i;
/** The parameter is accepted but its value is not: fails only the row. */
const VALUE = /context (?:length|window)|too (?:large|long|many)|maximum (?:of|number)|greater than|less than/i;

/** Statuses of APIs for an invalid request. */
const BAD_REQUEST = new Set([400, 422]);

export class RefusedParameters {
  readonly #refused = new Set<string>();
  readonly #warn: (message: string) => void;

  /** `warn` is called once per parameter. */
  constructor(warn: (message: string) => void) {
    this.#warn = warn;
  }

  has(parameter: string): boolean {
    return this.#refused.has(parameter);
  }

  /** The body without the refused parameters. */
  apply(body: Body): Body {
    if (this.#refused.size === 0) return body;
    const kept = Object.entries(body).flatMap(([name, value]): [string, unknown][] => {
      if (name === 'generationConfig') return [[name, this.apply(value as Body)]];
      if (!this.#refused.has(name)) return [[name, value]];
      const other = PARAMETERS[name];
      return other === undefined || this.#refused.has(other) ? [] : [[other, value]];
    });
    return Object.fromEntries(kept);
  }

  /** The attempt; marked for repetition if the reply refuses a parameter of `sent`, which is omitted from now on. */
  learn(attempt: Attempt, reply: HttpReply, sent: Body): Attempt {
    if (!BAD_REQUEST.has(reply.status)) return attempt;
    const parameter = refusedParameter(reply, sent);
    if (parameter === undefined) return attempt;
    if (!this.#refused.has(parameter)) {
      this.#refused.add(parameter);
      const other = PARAMETERS[parameter];
      const instead = other === undefined || this.#refused.has(other) ? 'left out' : `sent as ${other}`;
      this.#warn(`the server refuses ${parameter}; from now on it is ${instead}: ${attempt.message ?? ''}`);
    }
    return { ...attempt, again: true };
  }
}

/** The parameter that the server refuses; undefined for another error. */
function refusedParameter(reply: HttpReply, sent: Body): string | undefined {
  const { message, param, code } = complaint(reply);
  if (VALUE.test(message) || !(REFUSAL.test(message) || /^(?:unsupported|unknown)_/.test(code))) return undefined;
  const config = sent.generationConfig as Body | undefined;
  const present = Object.keys({ ...sent, ...config }).filter((name) => Object.hasOwn(PARAMETERS, name));
  const named = present.filter((name) => namePattern(name).test(message));
  if (param !== undefined && present.includes(param)) return param;
  // "temperature and top_p cannot both be": keep the temperature.
  return named.find((name) => name === 'top_p' || name === 'topP') ?? named[0];
}

/** Short names are also English words, so they count only in quotes, or beside "parameter". */
function namePattern(name: string): RegExp {
  return name.length > 4
    ? new RegExp(`(?<!\\w)${name}(?!\\w)`)
    : new RegExp(`["'\`]${name}["'\`]|\\b(?:parameter|argument|field)s?:? ${name}\\b`, 'i');
}

function complaint({ body }: HttpReply): { message: string; param?: string; code: string } {
  const json = parseJson(body);
  const error = (typeof json === 'object' && json !== null ? ((json as Body).error ?? json) : {}) as Body | string;
  if (typeof error !== 'object' || error === null) return { message: String(error), code: '' };
  const { message, detail, param, code } = error;
  const text = typeof message === 'string' ? message : JSON.stringify(message ?? detail ?? json ?? body);
  return { message: text, code: String(code), ...(typeof param === 'string' ? { param } : {}) };
}
