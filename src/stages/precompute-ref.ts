// SPDX-License-Identifier: Apache-2.0
// Log-probabilities under the reference, stored in the data with a fingerprint of what computed them.
import type { ImageInput } from '../engine/requests.ts';
import { mapRowsInFlight } from '../flow/in-flight.ts';
import type { Row, Stage } from '../flow/stage.ts';
import type { ModelContext } from '../model/context.ts';
import { loadImages, preparePrompt, scoreResponses, writtenTurns } from '../model/prompt.ts';
import { planRecord, provenance } from '../model/record-plan.ts';
import { RecordError } from '../records/error.ts';
import type { RefFingerprint, VprefRecord } from '../records/record.ts';
import { checkInputs, referenceInputs } from './reference-inputs.ts';
import { pairFields, pairTexts } from './score.ts';

/**
 * Adds `ref_*` and `ref`. A record that has them from this model passes through. From another model it is an error, because a file must
 * not mix references. Image-side negatives are scored with `chosen`.
 */
export function precomputeRef(context: ModelContext): Stage {
  return mapRowsInFlight(async (row, signal) => {
    const { record } = row;
    const plan = await planRecord(row, context);
    const ref: RefFingerprint = provenance(plan, context);
    checkSameReference(row, ref);
    const texts = pairTexts(record);
    if (texts.length === 0) throw new RecordError(row, 'record', 'chosen and rejected, or response', 'none of them');
    const inputs = await referenceInputs(row, plan, context);
    if (record.ref?.inputs !== undefined) checkInputs(row, record.ref.inputs, inputs, COMPUTE_AGAIN);
    // A `ref` of version 0.1 does not record its texts, so its sums are recomputed.
    if (record.ref?.inputs !== undefined && isComplete(record)) return [record];
    const rejectedSets = rejectedImageSets(row);
    // Load all images first, so the order of requests is deterministic.
    const [images, ...rejectedImages] = await Promise.all(
      [record.images ?? [], ...rejectedSets].map((sources) => loadImages(row, { images: sources }, plan, context)),
    );
    const scoreTexts = async (loaded: ImageInput[], responses: string[]) => {
      const prepared = preparePrompt(writtenTurns(row, loaded.length, context), loaded, plan, context);
      const scored = await scoreResponses(
        prepared,
        responses.map((text) => ({ text })),
        context,
        signal,
      );
      return scored.map(({ logps }) => logps);
    };
    return async () => {
      const [logps, ...onRejected] = await Promise.all([
        scoreTexts(images!, texts),
        ...rejectedImages.map((loaded) => scoreTexts(loaded, [record.chosen!])),
      ]);
      const sums = onRejected.map(([sum]) => sum!);
      return [
        {
          ...record,
          ...pairFields(record, logps, 'ref'),
          ...(sums.length > 0 && {
            ref_chosen_logps_rejected_images: Array.isArray(record.rejected_images![0]) ? sums : sums[0]!,
          }),
          ref: { ...ref, inputs },
        },
      ];
    };
  }, context);
}

const COMPUTE_AGAIN = 'remove ref and ref_* to compute them again';

// Image-side negatives: `rejected_images` holds one set of images, or several.
function rejectedImageSets(row: Row): string[][] {
  const { rejected_images: rejected, chosen } = row.record;
  if (rejected === undefined || rejected.length === 0) return [];
  if (chosen === undefined) throw new RecordError(row, 'chosen', 'a text, because there are rejected_images', 'none');
  return Array.isArray(rejected[0]) ? (rejected as string[][]) : [rejected as string[]];
}

function isComplete(record: VprefRecord): boolean {
  const has = (name: keyof VprefRecord) => record[name] !== undefined;
  const pairs: [keyof VprefRecord, keyof VprefRecord][] = [
    ['chosen', 'ref_chosen_logps'],
    ['rejected', 'ref_rejected_logps'],
    ['response', 'ref_response_logps'],
    ['rejected_images', 'ref_chosen_logps_rejected_images'],
  ];
  return pairs.every(([text, logps]) => !has(text) || has(logps)) && pairs.some(([text]) => has(text));
}

function checkSameReference(row: Row, ours: RefFingerprint): void {
  const { ref } = row.record;
  if (ref === undefined) return;
  for (const field of ['model', 'adapter', 'dtype', 'quantize'] as const) {
    const [theirs, wanted] = [JSON.stringify(ref[field] ?? null), JSON.stringify(ours[field] ?? null)];
    if (theirs !== wanted) {
      throw new RecordError(row, `ref.${field}`, `${wanted} (this reference; ${COMPUTE_AGAIN})`, theirs);
    }
  }
}
