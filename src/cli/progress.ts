// SPDX-License-Identifier: Apache-2.0
// Progress and messages on stderr: a line that rewrites itself on a terminal, plain lines elsewhere.
import type { RowResult } from '../flow/stage.ts';
import type { ProgressMode } from './flags.ts';
import { messageLine, visible } from './terminal.ts';

/** Counts of a run so far. */
export interface RunCounts {
  read: number;
  written: number;
  /** Finished input rows: written, dropped or failed. */
  finished: number;
  /** Dropped rows, by reason. */
  dropped: Map<string, number>;
  skipped: number;
  kept: number;
  /** Rows that failed in an earlier stage. */
  passed: number;
  /** Rows finished before --resume. */
  done: number;
  bytesRead: number;
  /** Whether to count the bytes of each row, because progress is shown. */
  isWatched: boolean;
  /** Undefined if the input is a pipe. */
  bytesTotal?: number | undefined;
  /** Total number of rows, if known. */
  rowsTotal?: (() => number | undefined) | undefined;
}

export function newCounts(): RunCounts {
  const counts = {
    read: 0,
    written: 0,
    finished: 0,
    skipped: 0,
    kept: 0,
    passed: 0,
    done: 0,
    bytesRead: 0,
    isWatched: false,
  };
  return { ...counts, dropped: new Map() };
}

/** A command's figures in the progress line, besides rows, rate and time left. */
export interface Figures {
  /** The unit; default: "rows". */
  unit?: string;
  /** Total and finished counts, if they are not the rows of the input. */
  total?(): number | undefined;
  finished?(): number;
  /** Number finished by an earlier run. */
  doneBefore?(): number;
  /** Counts what a row became. */
  see?(result: RowResult): void;
  /** Such as "812 tokens/s", the most important first; `seconds` since the start. */
  parts?(seconds: number): string[];
  /** Whether the summary already includes the figures. */
  areInSummary?: boolean;
}

const TERMINAL_MS = 200;
const PLAIN_MS = 10_000;
const ERASE_LINE = '\r\x1b[K';

/** Prints progress and messages of one command. */
export class Reporter {
  figures: Figures = {};
  readonly label: string;
  readonly #quiet: boolean;
  readonly #rewrites: boolean;
  readonly #colours: boolean;
  #mode: ProgressMode;
  readonly #stream: NodeJS.WriteStream;
  #timer: NodeJS.Timeout | undefined;
  #shown = false;
  #taskShownAt = 0;
  #started = 0;
  #state: (seconds: number) => ProgressState = () => ({ parts: [] });

  constructor(label: string, options: { progress: ProgressMode; quiet: boolean; stream?: NodeJS.WriteStream }) {
    this.label = label;
    this.#quiet = options.quiet;
    this.#mode = options.progress;
    this.#stream = options.stream ?? process.stderr;
    this.#rewrites = this.#stream.isTTY === true && process.env.TERM !== 'dumb';
    // https://no-color.org: set and not empty.
    this.#colours = this.#rewrites && !process.env.NO_COLOR;
  }

  /** Rows are printed to the same terminal: show progress only with --progress always. */
  shareTerminal(): void {
    if (this.#mode === 'auto') this.#mode = 'never';
  }

  /** Printed also with --quiet. */
  warn(message: string): void {
    this.#write(messageLine(this.label, message));
  }

  /** Printed unless --quiet. */
  note(message: string): void {
    if (!this.#quiet) this.warn(message);
  }

  /** Progress of a task before the rows. */
  task(name: string, share: number): void {
    if (!this.#isWanted()) return;
    const now = performance.now();
    if (now - this.#taskShownAt < (this.#rewrites ? TERMINAL_MS : PLAIN_MS)) return;
    this.#taskShownAt = now;
    this.#draw({ share, parts: [name] });
  }

  start(counts: RunCounts): void {
    counts.isWatched = this.#isWanted();
    this.#started = performance.now();
    this.showLine((seconds) => progressState(counts, seconds, this.figures));
  }

  /** Shows a progress line until the end, if enabled, instead of the previous one; `state` gets the seconds since the start. */
  showLine(state: (seconds: number) => ProgressState): void {
    this.#state = state;
    clearInterval(this.#timer);
    if (!this.#isWanted()) return;
    this.#timer = setInterval(() => this.#draw(state(this.#seconds())), this.#rewrites ? TERMINAL_MS : PLAIN_MS);
    this.#timer.unref();
  }

  /** Shows no progress from now on. */
  endLine(): void {
    this.#mode = 'never';
    clearInterval(this.#timer);
    this.#timer = undefined;
    if (this.#shown) this.#write('');
  }

  /** Ends the progress line; prints the summary if there was a line, or anything but plain success. */
  finish(counts: RunCounts, { isTable = false } = {}): void {
    const hadLine = this.#timer !== undefined;
    const seconds = this.#seconds();
    this.endLine();
    if (hadLine) {
      const figures = this.figures.areInSummary ? [] : (this.figures.parts?.(seconds) ?? []);
      const parts = isTable ? this.#state(seconds).parts : [summaryLine(counts), ...figures];
      this.note([...parts, formatSeconds(seconds)].join(', '));
    } else if (counts.read !== counts.written || counts.skipped + counts.kept + counts.passed + counts.done > 0) {
      if (!isTable) this.note(summaryLine(counts));
    }
  }

  #isWanted(): boolean {
    const isTerminal = this.#stream.isTTY === true;
    return !this.#quiet && (this.#mode === 'always' || (this.#mode === 'auto' && isTerminal));
  }

  #seconds(): number {
    return (performance.now() - this.#started) / 1000;
  }

  #draw(state: ProgressState): void {
    if (!this.#rewrites) {
      this.#stream.write(messageLine(this.label, plainLine(state)));
      return;
    }
    const parts = state.parts.map(visible);
    const line = terminalLine(
      this.label,
      { ...state, parts },
      { columns: this.#stream.columns || 80, colours: this.#colours },
    );
    this.#stream.write(`${ERASE_LINE}${line}`);
    this.#shown = true;
  }

  #write(text: string): void {
    if (this.#shown) this.#stream.write(ERASE_LINE);
    this.#shown = false;
    this.#stream.write(text);
  }
}

/** A progress line: the finished share, and its parts, the most important first. */
export interface ProgressState {
  share?: number | undefined;
  parts: string[];
}

/** The parts of a progress line: "1,200 of 2,860 rows", "2:10 left", "1 failed", "40 rows/s", the command's figures, "12 dropped". */
export function progressState(counts: RunCounts, seconds: number, figures: Figures = {}): ProgressState {
  const { unit = 'rows' } = figures;
  const finished = figures.finished?.() ?? counts.finished;
  const total = figures.total === undefined ? counts.rowsTotal?.() : figures.total();
  const byBytes = counts.bytesTotal ? counts.bytesRead / counts.bytesTotal : undefined;
  const share = clamp(total === undefined ? byBytes : total === 0 ? undefined : finished / total);
  const worked = finished - (figures.finished === undefined ? counts.done : (figures.doneBefore?.() ?? 0));
  const before = finished > 0 ? (finished - worked) / finished : 0;
  const parts = [`${group(finished)}${total === undefined ? '' : ` of ${group(total)}`} ${unit}`];
  if (share !== undefined && share < 1 && worked > 0 && seconds > 0)
    parts.push(`${formatTimeLeft((seconds * (1 - share)) / (share * (1 - before)))} left`);
  const failed = counts.skipped + counts.kept;
  if (failed > 0) parts.push(`${group(failed)} failed`);
  if (seconds > 0 && worked > 0) parts.push(`${formatRate(worked / seconds)} ${unit}/s`);
  parts.push(...(figures.parts?.(seconds) ?? []));
  const dropped = sum(counts.dropped.values());
  if (dropped > 0) parts.push(`${group(dropped)} dropped`);
  return { share, parts };
}

function plainLine({ share, parts }: ProgressState): string {
  return [...(share === undefined ? [] : [percent(share)]), ...parts].join(', ');
}

const MAX_BAR = 24;
const MIN_BAR = 8;
const GREEN = '\x1b[32m';
const RED = '\x1b[31m';
const PLAIN = '\x1b[0m';

/** "vpref pair  42 % [=======>    ] 1,200 of 2,860 rows, 0:41 left": as many parts as fit the columns, and a bar in the remaining space. */
export function terminalLine(
  label: string,
  { share, parts }: ProgressState,
  { columns, colours }: { columns: number; colours: boolean },
): string {
  // The last column stays free, because some terminals wrap after it.
  const room = columns - 1;
  const lead = share === undefined ? `${label}: ` : `${label} ${percent(share).padStart(5)} `;
  const shown: string[] = [];
  for (const part of parts) {
    if (lead.length + [...shown, part].join(', ').length > room) break;
    shown.push(part);
  }
  const text = shown.join(', ');
  const barRoom = Math.min(MAX_BAR, room - lead.length - text.length - 3);
  const bar = share === undefined || barRoom < MIN_BAR ? '' : `${drawBar(share, barRoom, colours)} `;
  if (shown.length === 0) return lead.slice(0, room);
  return `${lead}${bar}${colours ? text.replace(/[\d,]+ failed/, `${RED}$&${PLAIN}`) : text}`;
}

function drawBar(share: number, width: number, colours: boolean): string {
  const filled = Math.floor(share * width);
  const bar = '='.repeat(filled) + (filled < width ? '>' : '');
  const rest = ' '.repeat(Math.max(0, width - filled - 1));
  return colours ? `[${GREEN}${bar}${PLAIN}${rest}]` : `[${bar}${rest}]`;
}

function percent(share: number): string {
  return `${Math.floor(share * 100)} %`;
}

function clamp(share: number | undefined): number | undefined {
  return share === undefined ? undefined : Math.min(1, Math.max(0, share));
}

/** "1,200 in, 1,188 out, 12 dropped (equal answers 10, tie 2)" */
export function summaryLine(counts: RunCounts): string {
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
  return rate >= 10 ? group(Math.round(rate)) : rate === 0 ? '0' : rate.toPrecision(2);
}

function formatTimeLeft(seconds: number): string {
  return formatSeconds(Math.ceil(seconds)).replace(/\.0 s$/, ' s');
}

export function formatSeconds(seconds: number): string {
  if (seconds < 60) return `${seconds < 10 ? seconds.toFixed(1) : Math.round(seconds)} s`;
  const minutes = Math.floor(seconds / 60);
  const rest = String(Math.floor(seconds % 60)).padStart(2, '0');
  return minutes < 60
    ? `${minutes}:${rest}`
    : `${Math.floor(minutes / 60)}:${String(minutes % 60).padStart(2, '0')}:${rest}`;
}
