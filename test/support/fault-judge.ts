// SPDX-License-Identifier: Apache-2.0
// A judge server with planted faults: each row's fate is a function of its number, so a test knows how it must end.
import type { Outcome, VprefRecord } from '../../src/records/record.ts';
import { type Api, answerBody, type Behaviour, helpsteerReply, type Seen, textNumber } from './judge-server.ts';

/** What happens to a row: `first` on its first call, `later` on the others (default: a good answer). */
interface Fate {
  name: string;
  outcome: Outcome;
  behave(call: Seen, number: number): Behaviour;
}

const good = (call: Seen): Behaviour => ({ text: goodText(call) });
const once = (name: string, first: (call: Seen) => Behaviour): Fate => ({
  name,
  outcome: 'ok',
  behave: (call, number) => (number === 1 ? first(call) : good(call)),
});
const always = (name: string, outcome: Outcome, behave: (call: Seen) => Behaviour): Fate => ({ name, outcome, behave });

/** What a judge in order says. */
export function goodText(call: Seen): string {
  const row = rowOf(call);
  const reply = JSON.parse(helpsteerReply(call.prompt, (text) => textNumber(text, 5)));
  return JSON.stringify({ ...reply, own_response: `row-${row}` });
}

const status =
  (code: number, headers: Record<string, string> = {}, error: object = {}) =>
  (): Behaviour => ({
    status: code,
    headers,
    json: { error: { message: `planted ${code}`, ...error } },
  });

const isRepair = (call: Seen) => call.prompt.includes('That reply cannot be read');

/** Answers that are whole for the API and useless for us. */
const dead: Record<'blocked' | 'filtered' | 'cut' | 'empty', Record<Api, object>> = {
  blocked: {
    gemini: { promptFeedback: { blockReason: 'SAFETY' } },
    openai: {
      choices: [{ message: { role: 'assistant', content: null, refusal: 'I cannot' }, finish_reason: 'stop' }],
    },
    anthropic: { content: [], stop_reason: 'refusal' },
  },
  filtered: {
    gemini: { candidates: [{ finishReason: 'PROHIBITED_CONTENT' }] },
    openai: { choices: [{ message: { role: 'assistant', content: 'x' }, finish_reason: 'content_filter' }] },
    anthropic: { content: [], stop_reason: 'refusal' },
  },
  cut: {
    gemini: { candidates: [{ content: { parts: [{ text: '{"own_' }] }, finishReason: 'MAX_TOKENS' }] },
    openai: { choices: [{ message: { role: 'assistant', content: '{"own_' }, finish_reason: 'length' }] },
    anthropic: { content: [{ type: 'text', text: '{"own_' }], stop_reason: 'max_tokens' },
  },
  empty: {
    gemini: { candidates: [{ content: { parts: [] }, finishReason: 'STOP' }] },
    openai: { choices: [{ message: { role: 'assistant', content: '' }, finish_reason: 'stop' }] },
    anthropic: { content: [], stop_reason: 'end_turn' },
  },
};
const deadEnd = (kind: keyof typeof dead) => (call: Seen) => ({ json: dead[kind][call.api] });

const wrongSchema = (call: Seen) =>
  JSON.stringify({ ...JSON.parse(goodText(call)), ratings: { A: { helpfulness: 9 } } });

const nothing: Record<Api, object> = {
  gemini: { candidates: [null] },
  openai: { choices: [null] },
  anthropic: { content: [null], stop_reason: 'end_turn' },
};

const NONSENSE = {
  usage: { prompt_tokens: -5, completion_tokens: 'many', input_tokens: -1, output_tokens: null },
  usageMetadata: { promptTokenCount: '7', candidatesTokenCount: -9 },
};

function keyOf({ headers }: Seen): string {
  const key = headers['x-api-key'] ?? headers['x-goog-api-key'] ?? headers.authorization?.replace('Bearer ', '');
  return String(key);
}

/** The key stands where a message is cut. */
function longComplaint(key: string): string {
  return `${'no '.repeat(161)}${key} ${key}`;
}

const FATES: Fate[] = [
  once('429 in milliseconds', status(429, { 'retry-after-ms': '20' })),
  once('429 in seconds', status(429, { 'retry-after': '0.03' })),
  once('429 with a date', () => {
    // The server's clock is a quarter of a century off: only the difference counts.
    const date = { date: 'Mon, 01 Jan 2001 00:00:00 GMT', 'retry-after': 'Mon, 01 Jan 2001 00:00:00 GMT' };
    return { status: 429, headers: date, json: { error: { message: 'planted' } } };
  }),
  once(
    '429 with RetryInfo',
    status(429, {}, { details: [{ '@type': 'type.googleapis.com/google.rpc.RetryInfo', retryDelay: '0.02s' }] }),
  ),
  once('429 without a word', status(429)),
  once('500', status(500)),
  once('503', status(503)),
  once('500 in HTML', () => ({ status: 502, raw: Buffer.from('<html>Bad Gateway</html>') })),
  once('reset', () => ({ fault: 'reset' })),
  once('reset in the body', () => ({ fault: 'reset-in-body' })),
  once('trickle', () => ({ fault: 'trickle' })),
  once('truncated JSON', (call) => ({ raw: Buffer.from(JSON.stringify(answerBody(call.api, 'x')).slice(0, 60)) })),
  once('invalid UTF-8', () => ({ raw: Buffer.from([0x7b, 0x22, 0xff, 0xfe, 0x22, 0x7d]) })),
  once('empty once', deadEnd('empty')),
  always('wrong schema, mended', 'ok', (call) => (isRepair(call) ? good(call) : { text: wrongSchema(call) })),
  always('prose, mended', 'ok', (call) => (isRepair(call) ? good(call) : { text: 'Well, answer A seems fine to me.' })),
  always('cut JSON text, mended', 'ok', (call) =>
    isRepair(call) ? good(call) : { text: goodText(call).slice(0, -9) },
  ),
  always('3 MB, mended', 'ok', (call) =>
    isRepair(call) ? good(call) : { text: `{"own_response": "${'x'.repeat(3_000_000)}` },
  ),
  always('10 MB', 'transport', () => ({ text: `{"own_response": "${'x'.repeat(10_000_000)}` })),
  always('wrong schema for ever', 'unparsable', (call) => ({ text: wrongSchema(call) })),
  always('prompt blocked', 'refused', deadEnd('blocked')),
  always('answer blocked', 'refused', deadEnd('filtered')),
  always('token limit', 'truncated', deadEnd('cut')),
  always('empty for ever', 'empty', deadEnd('empty')),
  always('a body without end, flood of MB', 'transport', () => ({ fault: 'flood' })),
  always('null for a candidate', 'empty', (call) => ({ json: nothing[call.api] })),
  always('thoughts, then the answer', 'ok', (call) => ({
    text: `<think>A: 1, B: 2\n[[3]]</think>\n${goodText(call)}`,
  })),
  always('thoughts without end', 'unparsable', (call) => ({ text: `<think>${goodText(call)}` })),
  always('numbers in prose', 'unparsable', () => ({ text: 'Helpfulness 4, correctness 3 [[4]]. A is best.' })),
  always('usage of nonsense', 'ok', (call) => ({ json: { ...answerBody(call.api, goodText(call)), ...NONSENSE } })),
  always('the key in an answer', 'unparsable', (call) => ({ text: `your key is ${keyOf(call)}` })),
  always('the key in a complaint', 'invalid', (call) => status(400, {}, { message: longComplaint(keyOf(call)) })()),
  always('400', 'invalid', status(400)),
  always('429 for ever', 'rate-limited', status(429, { 'retry-after-ms': '5' })),
  always('500 for ever', 'transport', status(500)),
];

const fine: Fate = { name: 'fine', outcome: 'ok', behave: good };

/** One row in five meets a fault; which one, its number says. Answers of megabytes are kept rare. */
export function fateOf(row: number): Fate {
  if (textNumber(`fault ${row}`, 100) >= 20) return fine;
  const fate = FATES[textNumber(`kind ${row}`, FATES.length)]!;
  return / MB/.test(fate.name) && textNumber(`large ${row}`, 10) > 0 ? fine : fate;
}

/** Number of the row that a call is about. */
export function rowOf(call: Seen): number {
  return Number(/question number (\d+)/.exec(call.prompt)?.[1] ?? -1);
}

export function faultRecord(row: number): VprefRecord {
  const responses = [0, 1, 2, 3].map((index) => ({ text: `answer ${index} to ${row}` }));
  return { id: `row-${row}`, prompt: `This is question number ${row}.`, responses };
}

/** The server's side: counts calls by row. */
export function faultBehaviour() {
  const calls = new Map<number, number>();
  /** Good answers sent, by row. */
  const goods = new Map<number, number>();
  const behave = (call: Seen): Behaviour => {
    const row = rowOf(call);
    const number = (calls.get(row) ?? 0) + 1;
    calls.set(row, number);
    const behaviour = fateOf(row).behave(call, number);
    if ('text' in behaviour && behaviour.text === goodText(call)) goods.set(row, (goods.get(row) ?? 0) + 1);
    return behaviour;
  };
  return { behave, calls, goods };
}
