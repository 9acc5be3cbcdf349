// SPDX-License-Identifier: Apache-2.0
// Progress and messages on stderr: a line that rewrites itself on a terminal, plain lines elsewhere.
import type { ProgressMode } from './flags.ts';

/** What a run has done so far. */
export interface Counts {
  read: number;
  written: number;
  /** Rows that gave no record, by reason. */
  dropped: Map<string, number>;
  skipped: number;
  kept: number;
  /** Rows that an earlier stage had failed on. */
  passed: number;
  /** Rows that --resume found done. */
  done: number;
  bytesRead: number;
  /** Undefined when the input is a pipe. */
  bytesTotal?: number | undefined;
}

export function newCounts(): Counts {
  return { read: 0, written: 0, dropped: new Map(), skipped: 0, kept: 0, passed: 0, done: 0, bytesRead: 0 };
}

const TERMINAL_MS = 200;
const PLAIN_MS = 10_000;
const ERASE_LINE = '\r\x1b[K';

/** Where the messages of one command go. */
export class Reporter {
  readonly label: string;
  readonly #quiet: boolean;
  readonly #rewrites: boolean;
  readonly #mode: ProgressMode;
  readonly #stream: NodeJS.WriteStream;
  #timer: NodeJS.Timeout | undefined;
  #shown = false;
  #started = 0;

  constructor(label: string, options: { progress: ProgressMode; quiet: boolean; stream?: NodeJS.WriteStream }) {
    this.label = label;
    this.#quiet = options.quiet;
    this.#mode = options.progress;
    this.#stream = options.stream ?? process.stderr;
    this.#rewrites = this.#stream.isTTY === true && process.env.TERM !== 'dumb';
  }

  /** Said also under --quiet. */
  warn(message: string): void {
    this.#write(`${this.label}: ${message}\n`);
  }

  /** Said unless --quiet. */
  note(message: string): void {
    if (!this.#quiet) this.warn(message);
  }

  start(counts: Counts): void {
    this.showLine((seconds) => progressLine(counts, seconds));
  }

  /** Keeps a progress line until endLine(), where one is wanted; `line` gets the seconds since now. */
  showLine(line: (seconds: number) => string): void {
    this.#started = performance.now();
    const wanted = this.#mode === 'always' || (this.#mode === 'auto' && this.#stream.isTTY === true);
    if (!wanted || this.#quiet) return;
    const show = () => this.#show(line((performance.now() - this.#started) / 1000));
    this.#timer = setInterval(show, this.#rewrites ? TERMINAL_MS : PLAIN_MS);
    this.#timer.unref();
  }

  endLine(): void {
    clearInterval(this.#timer);
    if (this.#shown) this.#write('');
  }

  /** Ends the progress line; says the summary when there was a line, or something else than plain success. */
  finish(counts: Counts): void {
    const summary = summaryLine(counts);
    if (this.#timer !== undefined) {
      clearInterval(this.#timer);
      const seconds = (performance.now() - this.#started) / 1000;
      this.note(`${summary}, ${formatSeconds(seconds)}`);
    } else if (counts.read !== counts.written || counts.skipped + counts.kept + counts.passed + counts.done > 0) {
      this.note(summary);
    }
  }

  #show(line: string): void {
    if (!this.#rewrites) {
      this.#stream.write(`${this.label}: ${line}\n`);
      return;
    }
    const columns = this.#stream.columns || 80;
    this.#stream.write(`${ERASE_LINE}${`${this.label}: ${line}`.slice(0, columns - 1)}`);
    this.#shown = true;
  }

  #write(text: string): void {
    if (this.#shown) this.#stream.write(ERASE_LINE);
    this.#shown = false;
    this.#stream.write(text);
  }
}

/** "1,200 rows, 400/s, 37 %, 0:02 left, 12 dropped, 1 failed" */
export function progressLine(counts: Counts, seconds: number): string {
  const worked = counts.read - counts.done;
  const parts = [`${group(counts.read)} rows`];
  if (seconds > 0) parts.push(`${formatRate(worked / seconds)}/s`);
  if (counts.bytesTotal !== undefined && counts.bytesTotal > 0) {
    const share = Math.min(1, counts.bytesRead / counts.bytesTotal);
    parts.push(`${Math.floor(share * 100)} %`);
    if (share > 0 && share < 1 && worked > 0) parts.push(`${formatSeconds((seconds / share) * (1 - share))} left`);
  }
  const dropped = sum(counts.dropped.values());
  if (dropped > 0) parts.push(`${group(dropped)} dropped`);
  const failed = counts.skipped + counts.kept;
  if (failed > 0) parts.push(`${group(failed)} failed`);
  return parts.join(', ');
}

/** "1,200 in, 1,188 out, 12 dropped (equal answers 10, tie 2)" */
export function summaryLine(counts: Counts): string {
  const parts = [`${group(counts.read)} in`, `${group(counts.written)} out`];
  const dropped = sum(counts.dropped.values());
  if (dropped > 0) {
    const reasons = [...counts.dropped].sort((a, b) => b[1] - a[1] || (a[0] < b[0] ? -1 : 1));
    parts.push(`${group(dropped)} dropped (${reasons.map(([why, n]) => `${why} ${group(n)}`).join(', ')})`);
  }
  if (counts.skipped > 0) parts.push(`${group(counts.skipped)} failed and left out`);
  if (counts.kept > 0) parts.push(`${group(counts.kept)} failed and kept with their error`);
  if (counts.passed > 0) parts.push(`${group(counts.passed)} failed in an earlier stage`);
  if (counts.done > 0) parts.push(`${group(counts.done)} done before`);
  return parts.join(', ');
}

function sum(values: Iterable<number>): number {
  let total = 0;
  for (const value of values) total += value;
  return total;
}

export function group(n: number): string {
  return String(n).replace(/\B(?=(\d{3})+$)/g, ',');
}

export function formatRate(rate: number): string {
  return rate >= 10 ? group(Math.round(rate)) : rate.toPrecision(2);
}

export function formatSeconds(seconds: number): string {
  if (seconds < 60) return `${seconds < 10 ? seconds.toFixed(1) : Math.round(seconds)} s`;
  const minutes = Math.floor(seconds / 60);
  const rest = String(Math.floor(seconds % 60)).padStart(2, '0');
  return minutes < 60
    ? `${minutes}:${rest}`
    : `${Math.floor(minutes / 60)}:${String(minutes % 60).padStart(2, '0')}:${rest}`;
}
