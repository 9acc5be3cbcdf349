// SPDX-License-Identifier: Apache-2.0
// score: log-probabilities under the policy of a record's texts: responses, choices, chosen and rejected.

import { mapRowsInFlight } from '../flow/in-flight.ts';
import type { Row, Stage } from '../flow/stage.ts';
import type { ModelContext, RecordPlan, ResponseText } from '../model/context.ts';
import { loadImages, preparePrompt, type ScoredText, scoreResponses, writtenTurns } from '../model/prompt.ts';
import { planRecord } from '../model/record-plan.ts';
import { RecordError } from '../records/error.ts';
import type { Response, VprefRecord } from '../records/record.ts';
import { ORIGINAL_VIEW, viewInputs } from '../records/view.ts';

/** `logps_original` of every response: its log-probability under the clean image. Throws RecordError for a record without responses. */
export function scoreOnOriginal(context: ModelContext): Stage {
  return mapRowsInFlight(async (row, signal) => {
    const { responses = [] } = row.record;
    if (responses.length === 0) throw new RecordError(row, 'responses', 'at least one to score', 'none');
    const plan = await planRecord(row, context);
    const onOriginal = responses.map(({ view: _, ...response }): Response => response);
    const scoreView = await scorer({ ...row, record: { ...row.record, responses: onOriginal } }, plan, context, signal);
    return async () => {
      const scored = await scoreResponsesByView(onOriginal, scoreView, context);
      const withSums = responses.map((response, index) => ({ ...response, logps_original: scored[index]!.logps! }));
      return [{ ...row.record, responses: withSums }];
    };
  }, context);
}

/** Scores all texts of a record. Throws RecordError if there is none. */
export function score(context: ModelContext): Stage {
  return mapRowsInFlight(async (row, signal) => {
    const { record } = row;
    const plan = await planRecord(row, context);
    const texts = pairTexts(record);
    const scoreView = await scorer(row, plan, context, signal);
    return async () => {
      const [original, responses] = await Promise.all([
        scoreView(
          ORIGINAL_VIEW,
          [],
          [...texts, ...(record.choices ?? [])].map((text) => ({ text })),
        ),
        scoreResponsesByView(record.responses ?? [], scoreView, context),
      ]);
      if (original.length + responses.length === 0) {
        throw new RecordError(row, 'record', 'responses, choices, chosen and rejected, or response', 'none of them');
      }
      const sums = original.map(({ logps }) => logps);
      return [
        {
          ...record,
          ...(responses.length > 0 && { responses }),
          ...pairFields(record, sums.slice(0, texts.length), 'policy'),
          ...(record.choices && { choice_logps: sums.slice(texts.length) }),
        },
      ];
    };
  }, context);
}

// Texts to score after the prompt with a view's images; `earlier` fills the prompt's open turns.
type ScoreView = (view: string, earlier: string[], texts: ResponseText[]) => Promise<ScoredText[]>;

// Load the images of every view with texts first, so the order of requests is deterministic.
async function scorer(row: Row, plan: RecordPlan, context: ModelContext, signal: AbortSignal): Promise<ScoreView> {
  const { record } = row;
  const names = new Set((record.responses ?? []).map(({ view }) => view ?? ORIGINAL_VIEW));
  if (pairTexts(record).length + (record.choices ?? []).length > 0) names.add(ORIGINAL_VIEW);
  const loading = [...names].map(async (name) => {
    return [name, await loadImages(row, viewInputs(record, name), plan, context)] as const;
  });
  const imagesOf = new Map(await Promise.all(loading));
  return async (name, earlier, texts) => {
    if (texts.length === 0) return [];
    const images = imagesOf.get(name)!;
    const prepared = preparePrompt(writtenTurns(row, images.length, context, earlier), images, plan, context);
    return scoreResponses(prepared, texts, context, signal);
  };
}

// Each response is scored with its own view and earlier turns; responses with both equal share one prompt.
async function scoreResponsesByView(
  responses: Response[],
  scoreView: ScoreView,
  context: ModelContext,
): Promise<Response[]> {
  const scored = [...responses];
  const groups = new Map<string, number[]>();
  for (const [index, response] of responses.entries()) {
    const key = JSON.stringify([response.view ?? ORIGINAL_VIEW, earlierTurns(response)]);
    groups.set(key, [...(groups.get(key) ?? []), index]);
  }
  await Promise.all(
    [...groups.values()].map(async (indices) => {
      const first = responses[indices[0]!]!;
      const texts = indices.map((index) => responseText(responses[index]!, context));
      const results = await scoreView(first.view ?? ORIGINAL_VIEW, earlierTurns(first), texts);
      for (const [k, index] of indices.entries()) {
        scored[index] = withLogps(responses[index]!, results[k]!, context);
      }
    }),
  );
  return scored;
}

/** The sums. If there are server log-probabilities, also per-token values, so eval drift can compare. */
export function withLogps(
  response: Response,
  { logps, numTokens, ids, perTokenLogps }: ScoredText,
  context: ModelContext,
) {
  const scored: Response = { ...response, logps, num_tokens: numTokens };
  if (response.endpoint_per_token_logps === undefined) return scored;
  return { ...scored, per_token_logps: rounded(perTokenLogps), tokens: tokenTexts(ids, context) };
}

/** Rounded to a millionth, below the precision of f32. */
export function rounded(logps: Float32Array): number[] {
  return Array.from(logps, (logp) => Number(logp.toFixed(6)));
}

/** Texts of tokens; special tokens by name. */
export function tokenTexts(ids: Int32Array, { tokenizer }: ModelContext): string[] {
  const bytes = tokenizer.tokenBytes();
  return Array.from(ids, (id) =>
    tokenizer.isSpecial(id) ? tokenizer.tokenText(id)! : Buffer.from(bytes[id]!).toString(),
  );
}

/** The generated turns before the response. */
export function earlierTurns({ turns }: Response): string[] {
  return turns?.slice(0, -1) ?? [];
}

// A response that was cut (by length, repetition or --stop) has no end token; another token may have ended it. The text
// of --stop was generated and counts, as in sample's log-probability.
export function responseText({ text, finish_reason, stop }: Response, { tokenizer }: ModelContext): ResponseText {
  if (finish_reason === 'length' || finish_reason === 'repetition') return { text, end: false };
  if (stop === undefined) return { text, end: true };
  const id = tokenizer.tokenId(stop);
  return id !== undefined && tokenizer.isSpecial(id) ? { text, end: stop } : { text: text + stop, end: false };
}

/** The texts of a pair in the order of `pairFields`: chosen, each rejected; or the one response. */
export function pairTexts({ chosen, rejected, response }: VprefRecord): string[] {
  return [chosen ?? [], rejected ?? [], response ?? []].flat();
}

/** The `policy_*` or `ref_*` fields, from the log-probabilities of `pairTexts`. */
export function pairFields(record: VprefRecord, logps: number[], prefix: 'policy' | 'ref'): Partial<VprefRecord> {
  const { chosen, rejected, response } = record;
  const fields: Record<string, number | number[]> = {};
  let next = 0;
  if (chosen !== undefined) fields[`${prefix}_chosen_logps`] = logps[next++]!;
  if (Array.isArray(rejected)) {
    fields[`${prefix}_rejected_logps`] = logps.slice(next, next + rejected.length);
    next += rejected.length;
  } else if (rejected !== undefined) fields[`${prefix}_rejected_logps`] = logps[next++]!;
  if (response !== undefined) fields[`${prefix}_response_logps`] = logps[next++]!;
  return fields;
}
