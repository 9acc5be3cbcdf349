// SPDX-License-Identifier: Apache-2.0
// What a report shows, gathered from NDJSON rows of any kind: metric rows of train, score rows of eval, records of every stage.
import { isObject } from '../../records/field.ts';
import type { Annotation, ViewOp, VprefRecord } from '../../records/record.ts';
import { hasPixelOps, type ViewInputs, viewImages } from '../../records/view.ts';
import type { Picture } from './thumbnails.ts';

/** One run's curves: a column per metric, as uPlot wants them. */
export interface Curves {
  name: string;
  keys: string[];
  /** columns[0] is the step, columns[k + 1] belongs to keys[k]; null where a step lacks it. */
  columns: (number | null)[][];
}

/** One score row with the file it stands in. */
export interface ScoreRow {
  run: string;
  benchmark: string;
  split: string;
  [figure: string]: unknown;
}

/** A pair as the browser lists it. */
export interface PairItem {
  id: string;
  run: string;
  prompt: string;
  chosen: string;
  rejected: string[];
  chosenScore?: number;
  rejectedScore?: number | number[];
  rule: string;
  view: string;
  /** Indices into ReportData.images; -1 where a picture is not shown. */
  images: number[];
  rejectedImages: number[];
  scores?: (Record<string, number> | null)[];
  responses?: string[];
}

/** Rows of one file by what they carry. */
export interface FileCounts {
  run: string;
  rows: number;
  withViews: number;
  withResponses: number;
  annotated: number;
  pairs: number;
  withReference: number;
  failed: Record<string, number>;
}

export interface JudgeSummary {
  run: string;
  judge: string;
  guide: string;
  entries: number;
  outcomes: Record<string, number>;
  usage: Record<string, number>;
  /** Over records that the judge has scored more than once. */
  agreement: Agreement;
}

/** What --summary says of one run of a stage. */
export interface StageSummary {
  run: string;
  stage: string;
  read: number;
  /** Absent where the run wrote no records. */
  written?: number;
  /** Rows that gave none, by reason. */
  dropped: Record<string, number>;
  /** Answers left out of records that gave other rows, by reason. */
  leftOut: Record<string, number>;
  failed: number;
  /** What else the stage says of itself, in words. */
  notes: string[];
  requests?: number;
  cached?: number;
  tokens?: number;
  /** US dollars; null where the price is not known, absent where nothing was bought. */
  cost?: number | null;
}

/** How two judges of one guide agree over the records that both have scored. */
export interface JudgePair {
  run: string;
  guide: string;
  judges: [string, string];
  agreement: Agreement;
}

/** By metric: share of equal scores, mean absolute difference, scores compared. */
export type Agreement = Record<string, { equal: number; meanDifference: number; n: number }>;

/** Everything the page needs; images are paths until thumbnails.ts has made pictures of them. */
export interface ReportData {
  title: string;
  curves: Curves[];
  scores: ScoreRow[];
  pairs: PairItem[];
  images: Picture[];
  files: FileCounts[];
  judges: JudgeSummary[];
  judgePairs: JudgePair[];
  stages: StageSummary[];
  numPairsLeftOut: number;
}

type JsonObject = Record<string, unknown>;

/** Gathers rows; `finish` gives the page's data. */
export class ReportCollector {
  readonly #maxPairs: number;
  readonly #curves = new Map<string, JsonObject[]>();
  readonly #scores: ScoreRow[] = [];
  readonly #pairs: PairItem[] = [];
  /** By image and operations: its place in ReportData.images. */
  readonly #images = new Map<string, { place: number; picture: Picture }>();
  readonly #files = new Map<string, FileCounts>();
  readonly #judges = new Map<string, JudgeTally>();
  readonly #judgePairs = new Map<string, { pair: JudgePair; counter: AgreementCounter }>();
  readonly #stages: StageSummary[] = [];
  #leftOut = 0;

  constructor(options: { maxPairs: number }) {
    this.#maxPairs = options.maxPairs;
  }

  /** Takes a row of the file `run`; returns false when it is nothing that a report knows. */
  add(run: string, row: JsonObject): boolean {
    if (typeof row.step === 'number' && typeof row.loss === 'number') {
      const rows = this.#curves.get(run);
      if (rows === undefined) this.#curves.set(run, [row]);
      else rows.push(row);
      return true;
    }
    if (typeof row.benchmark === 'string' && 'split' in row) {
      this.#scores.push({ ...row, run, benchmark: row.benchmark, split: String(row.split) });
      return true;
    }
    if (typeof row.summary === 'string' && typeof row.rows_read === 'number') {
      this.#stages.push(stageSummary(run, row.summary, row));
      return true;
    }
    if (typeof row.id === 'string' && 'prompt' in row) {
      this.#addRecord(run, row as VprefRecord);
      return true;
    }
    return false;
  }

  finish(title: string): ReportData {
    return {
      title,
      curves: [...this.#curves].map(([name, rows]) => curvesOf(name, rows)),
      scores: this.#scores,
      pairs: this.#pairs,
      images: [...this.#images.values()].map(({ picture }) => picture),
      files: [...this.#files.values()],
      judges: [...this.#judges.values()].map((tally) => tally.summary()),
      judgePairs: [...this.#judgePairs.values()].map(({ pair, counter }) => ({
        ...pair,
        agreement: counter.figures(),
      })),
      stages: this.#stages,
      numPairsLeftOut: this.#leftOut,
    };
  }

  #addRecord(run: string, record: VprefRecord): void {
    const counts = this.#countsOf(run);
    counts.rows += 1;
    if (record.error !== undefined) {
      const reason = `${record.error.stage}: ${record.error.code}`;
      counts.failed[reason] = (counts.failed[reason] ?? 0) + 1;
    }
    if (record.views !== undefined) counts.withViews += 1;
    if (record.responses !== undefined) counts.withResponses += 1;
    if (record.ref_chosen_logps !== undefined || record.ref_response_logps !== undefined) counts.withReference += 1;
    if (record.annotations?.some(({ outcome }) => outcome === 'ok')) counts.annotated += 1;
    this.#addAnnotations(run, record.annotations ?? []);
    if (record.chosen === undefined || record.rejected === undefined) return;
    counts.pairs += 1;
    if (this.#pairs.length < this.#maxPairs) this.#pairs.push(this.#pairOf(run, record));
    else this.#leftOut += 1;
  }

  #pairOf(run: string, record: VprefRecord): PairItem {
    const ok = record.annotations?.findLast(({ outcome }) => outcome === 'ok');
    const image = (source: string, ops?: readonly ViewOp[]) => {
      const key = JSON.stringify([source, ops]);
      const known = this.#images.get(key) ?? { place: this.#images.size, picture: { source, ops } };
      this.#images.set(key, known);
      return known.place;
    };
    const view = record.views?.[0];
    const shown = rejectedPictures(record);
    return {
      id: record.id,
      run,
      prompt: promptText(record),
      chosen: record.chosen!,
      rejected: [record.rejected!].flat(),
      ...(record.chosen_score !== undefined && { chosenScore: record.chosen_score }),
      ...(record.rejected_score !== undefined && { rejectedScore: record.rejected_score }),
      rule: record.pair?.rule ?? '',
      view: view === undefined ? '' : view.ops.map((op) => describeOp(op)).join(' + '),
      images: (record.images ?? []).map((source) => image(source)),
      rejectedImages: shown.images.map((source, index) => image(source, shown.ops?.[index])),
      ...(ok?.scores && { scores: ok.scores, responses: (record.responses ?? []).map(({ text }) => text) }),
    };
  }

  #countsOf(run: string): FileCounts {
    let counts = this.#files.get(run);
    if (counts === undefined) {
      counts = { run, rows: 0, withViews: 0, withResponses: 0, annotated: 0, pairs: 0, withReference: 0, failed: {} };
      this.#files.set(run, counts);
    }
    return counts;
  }

  #addAnnotations(run: string, annotations: readonly Annotation[]): void {
    const byJudge = new Map<string, Annotation[]>();
    for (const entry of annotations) {
      const key = JSON.stringify([run, entry.judge, entry.guide]);
      byJudge.set(key, [...(byJudge.get(key) ?? []), entry]);
    }
    for (const [key, entries] of byJudge) {
      let tally = this.#judges.get(key);
      if (tally === undefined) {
        tally = new JudgeTally(run, entries[0]!.judge, entries[0]!.guide);
        this.#judges.set(key, tally);
      }
      tally.add(entries);
    }
    this.#compareJudges(run, annotations);
  }

  /** The first scores of each judge against those of every other judge under the same guide. */
  #compareJudges(run: string, annotations: readonly Annotation[]): void {
    const first = new Map<string, Annotation>();
    for (const entry of annotations) {
      const key = JSON.stringify([entry.guide, entry.judge]);
      if (entry.scores !== undefined && !first.has(key)) first.set(key, entry);
    }
    if (first.size < 2) return;
    const entries = [...first.values()].sort((a, b) => (a.judge < b.judge ? -1 : 1));
    for (const [index, a] of entries.entries())
      for (const b of entries.slice(index + 1)) {
        if (a.guide !== b.guide) continue;
        const key = JSON.stringify([run, a.guide, a.judge, b.judge]);
        let known = this.#judgePairs.get(key);
        if (known === undefined) {
          const pair: JudgePair = { run, guide: a.guide, judges: [a.judge, b.judge], agreement: {} };
          known = { pair, counter: new AgreementCounter() };
          this.#judgePairs.set(key, known);
        }
        known.counter.add(a.scores!, b.scores!);
      }
  }
}

function stageSummary(run: string, stage: string, row: JsonObject): StageSummary {
  const number = (name: string) => (typeof row[name] === 'number' ? (row[name] as number) : 0);
  const counts = (value: unknown) =>
    Object.fromEntries(
      Object.entries(isObject(value) ? value : {}).filter((entry): entry is [string, number] => {
        return typeof entry[1] === 'number';
      }),
    );
  const { flipped, leans, rule, judge, guide } = row;
  const leanTexts = Array.isArray(leans) ? leans.filter((lean) => typeof lean === 'string') : [];
  const notes = [
    typeof rule === 'string' && `rule ${rule}`,
    typeof judge === 'string' && `judge ${judge}`,
    typeof guide === 'string' && `guide ${guide}`,
    typeof flipped === 'number' && flipped > 0 && `${flipped} preferences turned round`,
    ...leanTexts,
  ].filter((note): note is string => typeof note === 'string');
  return {
    run,
    stage,
    read: number('rows_read'),
    ...('rows_written' in row && { written: number('rows_written') }),
    dropped: counts(row.dropped),
    leftOut: counts(row.answers_left_out),
    failed: number('failed_left_out') + number('failed_kept') + number('failed_before'),
    notes,
    ...('requests' in row && {
      requests: number('requests'),
      cached: number('cached'),
      tokens: number('input_tokens') + number('output_tokens'),
      cost: typeof row.cost_usd === 'number' ? row.cost_usd : null,
    }),
  };
}

/** Scores of the same answers, twice. */
class AgreementCounter {
  readonly #sums: Record<string, { equal: number; difference: number; n: number }> = {};

  add(first: NonNullable<Annotation['scores']>, second: NonNullable<Annotation['scores']>): void {
    for (const [index, scores] of first.entries()) {
      for (const [metric, value] of Object.entries(scores ?? {})) {
        const other = second[index]?.[metric];
        if (typeof value !== 'number' || typeof other !== 'number') continue;
        this.#sums[metric] ??= { equal: 0, difference: 0, n: 0 };
        const sums = this.#sums[metric];
        sums.n += 1;
        sums.equal += value === other ? 1 : 0;
        sums.difference += Math.abs(value - other);
      }
    }
  }

  figures(): Agreement {
    const figures = Object.entries(this.#sums).map(([metric, { equal, difference, n }]) => [
      metric,
      { equal: equal / n, meanDifference: difference / n, n },
    ]);
    return Object.fromEntries(figures);
  }
}

/** Counts of one judge under one guide. */
class JudgeTally {
  readonly #summary: JudgeSummary;
  readonly #repeated = new AgreementCounter();

  constructor(run: string, judge: string, guide: string) {
    this.#summary = { run, judge, guide, entries: 0, outcomes: {}, usage: {}, agreement: {} };
  }

  /** The entries of one record. */
  add(entries: readonly Annotation[]): void {
    const { outcomes, usage } = this.#summary;
    for (const entry of entries) {
      this.#summary.entries += 1;
      outcomes[entry.outcome] = (outcomes[entry.outcome] ?? 0) + 1;
      for (const [name, amount] of Object.entries(entry.usage ?? {}))
        if (typeof amount === 'number') usage[name] = (usage[name] ?? 0) + amount;
    }
    const scored = entries.flatMap(({ scores }) => (scores === undefined ? [] : [scores]));
    for (const [index, first] of scored.entries())
      for (const second of scored.slice(index + 1)) this.#repeated.add(first, second);
  }

  summary(): JudgeSummary {
    return { ...this.#summary, agreement: this.#repeated.figures() };
  }
}

/** Columns of every numeric metric but step and epoch, in the order the run first wrote them. */
function curvesOf(name: string, rows: readonly JsonObject[]): Curves {
  const keys = new Set<string>();
  for (const row of rows)
    for (const [key, value] of Object.entries(row))
      if (typeof value === 'number' && key !== 'step' && key !== 'epoch') keys.add(key);
  const column = (key: string) => rows.map((row) => (typeof row[key] === 'number' ? (row[key] as number) : null));
  return { name, keys: [...keys], columns: [column('step'), ...[...keys].map(column)] };
}

/** What the rejected answer was given to: image-side negatives, else the first view where it changes pixels. */
function rejectedPictures(record: VprefRecord): Pick<ViewInputs, 'images' | 'ops'> {
  const { rejected_images: negatives, views: [view] = [], images = [] } = record;
  if (negatives !== undefined) return { images: negatives.flat() };
  const isChanged = view?.images !== undefined || (view !== undefined && hasPixelOps(view));
  return isChanged ? viewImages(view, images) : { images: [] };
}

function promptText({ prompt }: VprefRecord): string {
  if (typeof prompt === 'string') return prompt;
  return prompt
    .map(({ role, content }) => {
      const text =
        typeof content === 'string'
          ? content
          : (content ?? []).map((part) => (part.type === 'text' ? part.text : '<image>')).join('');
      return `${role}: ${text}`;
    })
    .join('\n');
}

function describeOp({ op, ...parameters }: { op: string; [name: string]: unknown }): string {
  // The seed is in the record; to a reader it is sixteen digits of noise.
  const shown = Object.entries(parameters).filter(
    ([name, value]) => name !== 'seed' && ['number', 'string', 'boolean'].includes(typeof value),
  );
  const short = (value: unknown) =>
    typeof value === 'number' && !Number.isInteger(value) ? Number(value.toPrecision(4)) : value;
  const text = shown.map(([name, value]) => `${name}=${short(value)}`);
  return text.length > 0 ? `${op} (${text.join(', ')})` : op;
}
