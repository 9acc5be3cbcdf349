// SPDX-License-Identifier: Apache-2.0
// pair: responses -> preference data. Every rule by its name on the command line.

import { mapRows, type Row, type Stage } from '../../flow/stage.ts';
import { RecordError } from '../../records/error.ts';
import { randomStream } from '../../records/random.ts';
import type { VprefRecord } from '../../records/record.ts';
import { type Filters, filterRow } from './filters.ts';
import { GapCounter, gap } from './gap.ts';
import { given, PER_REJECTED } from './given.ts';
import { kto } from './kto.ts';
import type { Picked, Rule, RuleOptions } from './rule.ts';
import { bestOfN, score } from './score.ts';
import { seva } from './seva.ts';
import { sft } from './sft.ts';
import { ShortAnswerCounter } from './short-answer-bias.ts';
import { steerlm } from './steerlm.ts';
import { filterWhole, type WholeFilters } from './whole.ts';

export const pairRules = { seva, gap, score, 'best-of-n': bestOfN, steerlm, sft, kto, given } satisfies Record<
  string,
  Rule
>;
export type RuleName = keyof typeof pairRules;

export interface PairOptions {
  rule: RuleName;
  rules: RuleOptions;
  /** Views whose images become rejected_images. */
  imageNegatives: readonly string[];
  /** Share of rows whose preference is swapped. */
  flip: number;
  filters: Filters;
  /** Filters over all pairs; with one, rows are held until the end of the input. */
  whole?: WholeFilters;
}

/** Counts for the summary, besides dropped rows. */
export interface PairReport {
  /** Parts of records that gave no row (such as one view's response), by reason. */
  left: Map<string, number>;
  shortAnswers: ShortAnswerCounter;
  flipped: number;
  /** Rule gap: the selected negatives. */
  gaps: GapCounter;
}

export function newPairReport(): PairReport {
  return { left: new Map(), shortAnswers: new ShortAnswerCounter(), flipped: 0, gaps: new GapCounter() };
}

/** Rows of `pair`. */
export function pair(options: PairOptions, report: PairReport): Stage {
  const rule: Rule = pairRules[options.rule];
  const left = (reason: string) => report.left.set(reason, (report.left.get(reason) ?? 0) + 1);
  const count = (records: readonly VprefRecord[]) => {
    for (const record of records) {
      report.shortAnswers.add(record);
      if (options.rule === 'gap') report.gaps.add(record);
      if (record.pair?.flipped) report.flipped += 1;
    }
  };
  const { whole } = options;
  const stage = mapRows((row) => {
    const picked = rule(row, options.rules, left);
    const made = Array.isArray(picked) ? finishRows(row, picked, options, left) : picked;
    if (whole === undefined && Array.isArray(made)) count(made);
    return made;
  });
  if (whole === undefined) return stage;
  return async function* (rows) {
    for await (const result of filterWhole(stage(rows), whole)) {
      count(result.records);
      yield result;
    }
  };
}

/** Fields that a new preference makes stale: responses of another rule, and log-probs of earlier responses. */
const STALE_FIELDS: ReadonlySet<string> = new Set([
  'chosen',
  'rejected',
  'chosen_score',
  'rejected_score',
  'rejected_images',
  'response',
  'label',
  'ref',
  'ref_chosen_logps',
  'ref_rejected_logps',
  'ref_chosen_logps_rejected_images',
  'ref_response_logps',
  'policy_chosen_logps',
  'policy_rejected_logps',
  'policy_response_logps',
]);

function finishRows(row: Row, picked: readonly Picked[], options: PairOptions, left: (reason: string) => void) {
  const records: VprefRecord[] = [];
  const base = options.rule === 'given' ? row.record : withoutStale(row.record);
  const isUnfiltered = Object.values(options.filters).every((limit) => limit === undefined);
  let reason: string | undefined;
  for (const { suffix, fields } of picked) {
    const { id, group = id } = row.record;
    // Object.assign, because adding to a spread copy of a parsed object takes ten times as long in V8.
    const own = suffix === undefined ? undefined : { id: `${id}#${suffix}`, group };
    const made: VprefRecord = Object.assign({}, base, own, fields);
    if (options.imageNegatives.length > 0) made.rejected_images = negativeImages(row, options.imageNegatives);
    const filtered = isUnfiltered ? made : filterRow(made, options.filters);
    if (isDropped(filtered)) {
      reason ??= filtered.dropped;
      if (picked.length > 1) left(filtered.dropped);
    } else records.push(flip(filtered, options.flip, options.rules.seed));
  }
  return records.length > 0 || reason === undefined ? records : { dropped: reason };
}

function isDropped(value: VprefRecord | { dropped: string }): value is { dropped: string } {
  return !('id' in value);
}

function withoutStale(record: VprefRecord): VprefRecord {
  const kept: Record<string, unknown> = {};
  let isStale = false;
  for (const field in record) {
    if (STALE_FIELDS.has(field) || (field === 'weight' && record.pair?.weight_by !== undefined)) isStale = true;
    else kept[field] = record[field];
  }
  return isStale ? (kept as VprefRecord) : record;
}

/** Images of the views: one set, or one set per view. Throws RecordError. */
function negativeImages(row: Row, names: readonly string[]): string[] | string[][] {
  const sets = names.map((name) => {
    const views = row.record.views ?? [];
    const found = views.findIndex((view) => view.name === name);
    if (found === -1) {
      const there = views.map((view) => JSON.stringify(view.name)).join(', ') || 'none';
      throw new RecordError(row, 'views', `a view "${name}" for --image-negatives`, there);
    }
    const { images } = views[found]!;
    if (images === undefined)
      throw new RecordError(
        row,
        `views[${found}].images`,
        'image files for --image-negatives (augment --image-dir, or augment --replay --image-dir, writes them)',
        'a recipe without files',
      );
    return images;
  });
  return sets.length === 1 ? sets[0]! : sets;
}

/** The row with its preference swapped, for a share of rows drawn from seed and id. */
function flip(record: VprefRecord, share: number, seed: number): VprefRecord {
  if (share === 0) return record;
  const draws = randomStream(seed, record.id, 'pair/flip');
  if (draws.nextFloat() >= share) return record;
  const pair = { ...record.pair!, flipped: true };
  if (record.label !== undefined) return { ...record, label: !record.label, pair };
  const flipped: VprefRecord = { ...record, pair };
  const place = Array.isArray(record.rejected) ? draws.nextInt(record.rejected.length) : 0;
  for (const key of PER_REJECTED) swap(flipped, key.replace('rejected', 'chosen'), key, place);
  return flipped;
}

function swap(record: VprefRecord, chosenKey: string, rejectedKey: string, place: number): void {
  const chosen = record[chosenKey];
  const rejected = record[rejectedKey];
  if (chosen === undefined || rejected === undefined) return;
  if (!Array.isArray(rejected)) Object.assign(record, { [chosenKey]: rejected, [rejectedKey]: chosen });
  else
    Object.assign(record, {
      [chosenKey]: rejected[place],
      [rejectedKey]: rejected.map((value, at) => (at === place ? chosen : value)),
    });
}
