// SPDX-License-Identifier: Apache-2.0
// What a report shows, gathered from NDJSON rows of any kind: metric rows of train, score rows of eval, records of every stage.
import type { Annotation, VprefRecord } from '../../records/record.ts';

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
  /** Over records judged more than once: share of equal scores and mean absolute difference, by metric. */
  agreement: Record<string, { equal: number; meanDifference: number; n: number }>;
}

/** Everything the page needs; images are paths until thumbnails.ts has made pictures of them. */
export interface ReportData {
  title: string;
  curves: Curves[];
  scores: ScoreRow[];
  pairs: PairItem[];
  images: string[];
  files: FileCounts[];
  judges: JudgeSummary[];
  numPairsLeftOut: number;
}

type JsonObject = Record<string, unknown>;

/** Gathers rows; `finish` gives the page's data. */
export class ReportCollector {
  readonly #maxPairs: number;
  readonly #curves = new Map<string, JsonObject[]>();
  readonly #scores: ScoreRow[] = [];
  readonly #pairs: PairItem[] = [];
  readonly #images = new Map<string, number>();
  readonly #files = new Map<string, FileCounts>();
  readonly #judges = new Map<string, JudgeTally>();
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
      images: [...this.#images.keys()],
      files: [...this.#files.values()],
      judges: [...this.#judges.values()].map((tally) => tally.summary()),
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
    const image = (source: string) => {
      const known = this.#images.get(source);
      if (known !== undefined) return known;
      this.#images.set(source, this.#images.size);
      return this.#images.size - 1;
    };
    const view = record.views?.[0];
    const rejectedImages = record.rejected_images?.flat() ?? view?.images ?? [];
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
      images: (record.images ?? []).map(image),
      rejectedImages: rejectedImages.map(image),
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
  }
}

/** Counts of one judge under one guide. */
class JudgeTally {
  readonly #summary: JudgeSummary;
  readonly #sums: Record<string, { equal: number; difference: number; n: number }> = {};

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
      for (const second of scored.slice(index + 1)) this.#compare(first, second);
  }

  #compare(first: NonNullable<Annotation['scores']>, second: NonNullable<Annotation['scores']>): void {
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

  summary(): JudgeSummary {
    const agreement = Object.entries(this.#sums).map(([metric, { equal, difference, n }]) => [
      metric,
      { equal: equal / n, meanDifference: difference / n, n },
    ]);
    return { ...this.#summary, agreement: Object.fromEntries(agreement) };
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
  const shown = Object.entries(parameters).filter(([, value]) =>
    ['number', 'string', 'boolean'].includes(typeof value),
  );
  const text = shown.map(
    ([name, value]) => `${name}=${typeof value === 'number' ? Number(value.toPrecision(4)) : value}`,
  );
  return text.length > 0 ? `${op} (${text.join(', ')})` : op;
}
