// SPDX-License-Identifier: Apache-2.0
// The log-probabilities of a question's allowed replies. All spellings are branches after one prompt, in one request.
import { isEngineLost } from '../../../engine/engine-error.ts';
import type { PolicyEngine } from '../../../engine/requests.ts';
import { type Attempt, failed } from '../../../http/attempt.ts';
import type { ModelContext, PreparedPrompt } from '../../../model/context.ts';
import { loadImages, preparePrompt, responseTokenIds, writtenTurns } from '../../../model/prompt.ts';
import { planRecord } from '../../../model/record-plan.ts';
import { FieldError, RunError } from '../../../records/error.ts';
import type { VprefRecord } from '../../../records/record.ts';
import { ORIGINAL_VIEW, viewInputs } from '../../../records/view.ts';
import { type AllowedReply, logSumExp } from '../allowed-replies.ts';

/** The attempt's text is {"yes": -0.1, "no": -2.4}. Throws only errors that every further question would meet; a prompt that is too long fails its row only. */
export async function askProbabilities(
  context: ModelContext,
  record: VprefRecord,
  replies: readonly AllowedReply[],
  signal: AbortSignal,
): Promise<Attempt> {
  const row = { record, source: 'judge', line: 1 };
  try {
    const plan = await planRecord(row, context);
    const images = await loadImages(row, viewInputs(record, ORIGINAL_VIEW), plan, context);
    const prepared = preparePrompt(writtenTurns(row, images.length, context), images, plan, context);
    const logps = await replyLogps(context.engine, prepared, spelledReplies(prepared, replies, context), signal);
    const usage = { input_tokens: prepared.promptIds.length, output_tokens: 0 };
    return { outcome: 'ok', text: JSON.stringify(logps), usage };
  } catch (cause) {
    if (signal.aborted) throw signal.reason;
    if (!(cause instanceof Error) || !('code' in cause || cause instanceof FieldError)) throw cause;
    const code = String((cause as RunError).code);
    // A guide that does not work with this model.
    if (code === 'guide' || isEngineLost(code)) throw cause;
    return failed('invalid', cause.message);
  }
}

interface Spelled {
  reply: string;
  spelling: string;
  ids: Int32Array;
}

/** Merges spellings with equal ids. Throws RunError{"guide"} if one is a prefix of another, because the shorter would include the longer one's probability. */
export function spelledReplies(
  prepared: Pick<PreparedPrompt, 'prompt' | 'promptIds' | 'numPositions'>,
  replies: readonly AllowedReply[],
  context: ModelContext,
): Spelled[] {
  const spelled: Spelled[] = [];
  for (const { name, spellings } of replies)
    for (const spelling of spellings) {
      const ids = responseTokenIds(prepared, { text: spelling, end: false }, context, 'replies');
      const other = spelled.find((known) => beginAlike(known.ids, ids));
      if (other === undefined) spelled.push({ reply: name, spelling, ids });
      else if (other.reply !== name || other.ids.length !== ids.length)
        throw new RunError(
          'guide',
          `replies: expected spellings of which none begins another in this model's tokens, got ${JSON.stringify(other.spelling)} and ${JSON.stringify(spelling)}`,
        );
    }
  return spelled;
}

function beginAlike(a: Int32Array, b: Int32Array): boolean {
  const length = Math.min(a.length, b.length);
  return a.subarray(0, length).every((id, index) => id === b[index]);
}

async function replyLogps(
  engine: PolicyEngine,
  { promptIds, images }: PreparedPrompt,
  spelled: readonly Spelled[],
  signal: AbortSignal,
): Promise<Record<string, number>> {
  const branches = spelled.map(({ ids }) => ids);
  const scored = await engine.score({ promptIds, images, branches }, signal);
  const sums = new Map<string, number[]>();
  for (const [index, { reply }] of spelled.entries()) {
    const sum = scored[index]!.reduce((total, logp) => total + logp, 0);
    sums.set(reply, [...(sums.get(reply) ?? []), sum]);
  }
  return Object.fromEntries([...sums].map(([reply, values]) => [reply, logSumExp(values)]));
}
