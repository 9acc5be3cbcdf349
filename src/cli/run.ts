// SPDX-License-Identifier: Apache-2.0
// One run of a command: its command line, its counts, its messages, and what its end means for the exit code.
import { rmSync, writeFileSync } from 'node:fs';
import { BAD_RECORD, type RecordError, RunError, UsageError } from '../records/error.ts';
import { formatLine } from '../records/lines.ts';
import type { VprefRecord } from '../records/record.ts';
import { withoutLogins } from '../records/server-url.ts';
import type { Row, RowResult } from '../stages/stage.ts';
import { isDevice } from './device-sink.ts';
import { BrokenPipeError, exitCode, StoppedError, stoppedError } from './exit.ts';
import type { OutputFlagValues, RecordFlagValues } from './flags.ts';
import { type BadRow, checkFiles, type InputRow, readRows } from './input.ts';
import type { Done } from './journal.ts';
import { lockBeside, lockInside, makeLockedFolder, OutputLock } from './lock.ts';
import { openSink, openTableSink } from './output.ts';
import { checkOutputPath } from './partial-file.ts';
import { MAX_TOLD, type PipeOptions } from './pipe.ts';
import { type Counts, type Figures, newCounts, type ProgressState, Reporter } from './progress.ts';
import type { Sink } from './sink.ts';
import { listenForStop } from './stop.ts';

/** A command line after parsing. */
export interface Parsed<F, A> {
  flags: F;
  args: A;
  /** Positional arguments after the named ones: input files, "-" for stdin. */
  files: string[];
  /** Names of the flags that the command line itself gives; the others have their defaults. */
  given: ReadonlySet<string>;
}

/** What a command's factory gets. */
export interface RunContext<F, A> extends Parsed<F, A> {
  /** Aborts when the run is asked to stop. The input ends by itself then; long work may listen too. */
  stop: AbortSignal;
  /** A line on stderr, silenced by --quiet. */
  note(message: string): void;
  /** A line on stderr. */
  warn(message: string): void;
  /** Keeps a progress line, where one is wanted, until the run ends; `line` gets the seconds since now. */
  showLine(line: (seconds: number) => ProgressState): void;
  /** Runs when all rows are written, before the summary. */
  atEnd(action: () => void | Promise<void>): void;
  /** Members that the row of --summary gets at the end of the run. */
  addFigures(figures: () => object): void;
  /** Records of `files`, or stdin, for commands that read them themselves; failed ones are left out and counted. */
  records(): AsyncGenerator<Row>;
  /** A row of `records` failed: throws under --on-error fail, else tells and counts it. */
  failed(error: RecordError, record?: VprefRecord): void;
  /** Rows out depend on all rows in, because of this flag: --shard and --resume are refused, a restarted job begins anew. */
  needAllRows(flag: string): void;
  /** What the progress line shows beside rows, rate and time left. */
  showFigures(figures: Figures): void;
  /** How far something before the rows is. */
  showTask(name: string, share: number): void;
  /** What the output depends on besides flags and arguments: a resumed run must share it. */
  addSettings(settings: object): void;
  /** The run's counts, for commands that read their files themselves. */
  readonly counts: Counts;
  /** Says so when the command line gives a common flag that changes nothing here. */
  noteIdle(flags: Partial<Record<'seed' | 'threads', string>>): void;
  /** Makes this run the one writer of the directory of -o, for commands that write it themselves; `isNew`: it must not be there yet. */
  holdFolder(folder: string, options?: { isNew?: boolean }): Promise<void>;
  /** One of several processes of a run, and not the one that speaks: no notes or warnings, no requeueing. */
  stepBack(): void;
}

export interface TableRunOptions {
  /** -o is the command's own. */
  toStdout?: boolean;
  /** --resume goes on with an unfinished file. */
  resumable?: boolean;
  /** --on-error keep writes failed records to FILE.errors.ndjson. */
  keepsFailed?: boolean;
}

type AnyFlags = Partial<RecordFlagValues> & OutputFlagValues;

// Flags that change how a run goes but not what a row becomes: a resumed run may have others.
const passingFlags = new Set(
  'output resume progress quiet requeue threads limit on-error batch-tokens concurrency rpm tpm max-cost timeout attempts max-wait prices cache no-cache log base-url key-env summary'.split(
    ' ',
  ),
);

export class Run<F, A> implements RunContext<F, A> {
  readonly flags: F;
  readonly args: A;
  readonly files: string[];
  readonly given: ReadonlySet<string>;
  readonly stop: AbortSignal;
  readonly #verb: string;
  readonly #common: AnyFlags;
  readonly #reporter: Reporter;
  readonly counts = newCounts();
  readonly #atEnd: (() => void | Promise<void>)[] = [];
  #figures: () => object = () => ({});
  #moreSettings: object = {};
  /** What the earlier starts of a resumed output had written and dropped. */
  #doneRows = 0;
  readonly #doneDropped = new Map<string, number>();
  #needsAllRows = false;
  #speaks = true;
  #failedRows: FailedRows | undefined;
  #lock: OutputLock | undefined;

  constructor(verb: string, { flags, args, files, given }: Parsed<F & AnyFlags, A>) {
    this.#verb = verb;
    this.flags = flags;
    this.args = args;
    this.files = files;
    this.given = given;
    this.#common = flags;
    this.stop = listenForStop().signal;
    const toTerminal = process.stdout.isTTY === true && flags.output === undefined;
    // Rows and a progress line would write over each other on one terminal.
    const progress = flags.progress === 'auto' && toTerminal ? 'never' : flags.progress;
    this.#reporter = new Reporter(`vpref ${verb}`, { progress, quiet: flags.quiet });
  }

  note(message: string): void {
    if (this.#speaks) this.#reporter.note(message);
  }

  warn(message: string): void {
    if (this.#speaks) this.#reporter.warn(message);
  }

  showLine(line: (seconds: number) => ProgressState): void {
    this.#reporter.showLine(line);
  }

  atEnd(action: () => void | Promise<void>): void {
    this.#atEnd.push(action);
  }

  addFigures(figures: () => object): void {
    this.#figures = figures;
  }

  addSettings(settings: object): void {
    this.#moreSettings = { ...this.#moreSettings, ...settings };
  }

  needAllRows(flag: string): void {
    const { resume, shard } = this.#common;
    if (resume) throw new UsageError(`${flag}: expected no --resume, all rows are needed at once`);
    if (shard !== undefined) throw new UsageError(`${flag}: expected no --shard, all rows are needed at once`);
    this.#needsAllRows = true;
  }

  noteIdle(flags: Partial<Record<'seed' | 'threads', string>>): void {
    for (const [name, why] of Object.entries(flags)) if (this.given.has(name)) this.note(`--${name}: ${why}`);
  }

  /** Makes this run the one writer of FILE. Throws RunError{"locked"} when another is, UsageError when FILE cannot be. */
  async holdOutput(): Promise<void> {
    const { output } = this.#common;
    if (output === undefined || output === '-' || isDevice(output)) return;
    checkOutputPath(output);
    await this.#hold(lockBeside(output), output);
  }

  async holdFolder(folder: string, { isNew = false } = {}): Promise<void> {
    if (isNew) return this.#hold(lockBeside(folder), folder);
    const { undo } = makeLockedFolder(folder);
    await this.#hold(lockInside(folder), folder, undo);
  }

  async #hold(path: string, output: string, afterwards?: () => void): Promise<void> {
    this.#lock = await OutputLock.take(path, {
      command: `vpref ${this.#verb}`,
      subject: `-o ${output}`,
      note: (message) => this.note(message),
    });
    // However the process ends, short of a kill.
    process.once('exit', () => {
      this.#lock?.release();
      afterwards?.();
    });
  }

  stepBack(): void {
    this.#speaks = false;
    this.#reporter.endLine();
  }

  showFigures(figures: Figures): void {
    this.#reporter.showFigures(figures);
  }

  showTask(name: string, share: number): void {
    this.#reporter.task(name, share);
  }

  /** Throws UsageError when there is nothing to read, or a file cannot be. */
  needInput(): void {
    const readsStdin = this.files.length === 0 || this.files.includes('-');
    if (readsStdin && process.stdin.isTTY)
      throw new UsageError(`expected records on stdin or in FILE..., got a terminal (see vpref ${this.#verb} --help)`);
    if (this.files.filter((file) => file === '-').length > 1) throw new UsageError('-: expected once, got twice');
    checkFiles(this.files);
  }

  readRows(sink?: Sink): AsyncGenerator<Iterable<InputRow | BadRow>> {
    const { shard, limit } = this.#common;
    const { files, stop } = this;
    return readRows({ files, shard, limit, stop, counts: this.counts, ...(sink && { isDone: sink.done.has }) });
  }

  async *records(): AsyncGenerator<Row> {
    this.needInput();
    for await (const batch of this.readRows())
      for (const row of batch) {
        if ('error' in row) this.failed(row.error, row.record);
        else if (row.record.error === undefined) yield row;
        else {
          this.counts.passed += 1;
          this.#failedRows?.push(row.record);
        }
        this.counts.finished += 1;
      }
    if (this.counts.passed > 0) this.note(`${this.counts.passed} records left out: they failed in an earlier stage`);
  }

  failed(error: RecordError, record?: VprefRecord): void {
    if ((this.#common['on-error'] ?? 'fail') === 'fail') throw error;
    this.counts.skipped += 1;
    if (record !== undefined)
      this.#failedRows?.push({ ...record, error: { stage: this.#verb, code: BAD_RECORD, message: error.message } });
    if (this.counts.skipped <= MAX_TOLD) this.warn(error.message);
    else if (this.counts.skipped === MAX_TOLD + 1) this.warn('more rows failed: they are only counted');
  }

  /** The results of this shard, until the run is asked to stop. */
  async *selectResults(results: AsyncIterable<RowResult>): AsyncGenerator<RowResult> {
    const { shard } = this.#common;
    let number = 0;
    for await (const result of results) {
      if (this.stop.aborted) return;
      if (shard === undefined || number % shard.count === shard.index) yield result;
      number += 1;
    }
  }

  /** Opens the output, runs `pipe`, and makes the output final or saves it. */
  async write(pipe: (options: PipeOptions) => Promise<void>): Promise<void> {
    const { output, 'on-error': onError = 'fail' } = this.#common;
    const anew = this.#needsAllRows;
    const resume = this.#resumes() && !anew;
    const sink = await openSink(output, {
      ...{ resume, anew, isRestart: this.#common.resume !== true },
      ...{ settings: this.#settings(), lock: this.#lock },
    });
    const { done } = sink;
    if (done.rows > 0) this.note(`going on after ${done.rows} rows of ${output}`);
    this.#doneRows = done.rows;
    for (const [reason, count] of done.dropped) this.#doneDropped.set(reason, count);
    this.counts.skipped = done.skipped;
    this.counts.kept = done.kept;
    await this.#finishing(sink, async () => {
      await pipe({ sink, onError, stage: this.#verb, counts: this.counts, reporter: this.#reporter });
      if (!this.stop.aborted && this.#common.limit === undefined) this.#refuseStrayRows(done);
    });
    if (this.counts.skipped + this.counts.kept > 0) process.exitCode = exitCode.partial;
  }

  #refuseStrayRows({ stray }: Done): void {
    const id = stray();
    if (id === undefined) return;
    throw new UsageError(
      `--resume: ${this.#common.output}: row ${JSON.stringify(id)}: expected a row of a record in the input, got one that the input does not have (it may have grown since the earlier run, not changed)`,
    );
  }

  /** The same for rows that are no records. */
  async writeTable(
    pipe: (sink: Sink) => Promise<void>,
    { toStdout = false, resumable = false, keepsFailed = false }: TableRunOptions = {},
  ): Promise<void> {
    const { output, 'on-error': onError } = this.#common;
    const path = toStdout ? undefined : output;
    const sink = openTableSink(path, { resumable, resume: resumable && this.#resumes(), lock: this.#lock });
    if (keepsFailed && onError === 'keep' && path !== undefined) this.#failedRows = new FailedRows(path);
    if (toStdout && process.stdout.isTTY) this.#reporter.shareTerminal();
    await this.#finishing(sink, () => pipe(sink), { isTable: true });
    const { skipped } = this.counts;
    await this.#failedRows?.finish();
    if (skipped === 0) return;
    this.note(
      `${skipped} records failed and left out${this.#failedRows?.numRows ? `: they are in ${this.#failedRows.path}` : ''}`,
    );
    process.exitCode = exitCode.partial;
  }

  #resumes(): boolean {
    return this.#common.resume === true || (isRestarted() && this.#common.output !== undefined);
  }

  async #finishing(sink: Sink, work: () => Promise<void>, { isTable = false } = {}): Promise<void> {
    this.#reporter.start(this.counts);
    try {
      await work();
      if (this.stop.aborted) throw stoppedError(this.stop.reason, sink.savedAs);
      for (const action of this.#atEnd) await action();
      await sink.finish();
    } catch (error) {
      await this.#save(sink);
      await this.#requeue(error);
      throw error;
    } finally {
      this.#reporter.finish(this.counts, { isTable });
    }
    this.#writeSummary(!isTable);
  }

  /** What cannot be saved is said beside the error that ended the run, not instead of it. */
  async #save(sink: Sink): Promise<void> {
    try {
      await sink.save();
      await this.#failedRows?.save();
    } catch (error) {
      if (!(error instanceof BrokenPipeError)) this.warn(`not all rows could be saved: ${(error as Error).message}`);
    }
  }

  /** The row of --summary, of the whole output: what an earlier, resumed start dropped is in it too. */
  #writeSummary(areRecords: boolean): void {
    const path = this.#common.summary;
    if (path === undefined) return;
    const { read, written, skipped, kept, passed, done } = this.counts;
    const dropped = new Map(this.#doneDropped);
    for (const [reason, count] of this.counts.dropped) dropped.set(reason, (dropped.get(reason) ?? 0) + count);
    const counts = {
      rows_read: read,
      ...(areRecords && { rows_written: written + this.#doneRows }),
      dropped: Object.fromEntries([...dropped].sort((a, b) => b[1] - a[1])),
      failed_left_out: skipped,
      failed_kept: kept,
      failed_before: passed,
      ...(done > 0 && { done_before: done }),
    };
    const row = { summary: this.#verb, ...counts, ...this.#figures(), settings: this.#settings() };
    try {
      writeFileSync(path, `${formatLine(row)}\n`);
    } catch (cause) {
      throw new RunError('summary', `--summary: ${(cause as Error).message}`, { cause });
    }
  }

  /** Only SIGUSR1 is a time limit: SIGTERM also comes from scancel, and a preempted job is requeued by Slurm. */
  async #requeue(error: unknown): Promise<void> {
    if (this.#common.requeue !== true || !this.#speaks) return;
    if (!(error instanceof StoppedError) || error.signal !== 'SIGUSR1') return;
    const { requeue } = await import('./requeue.ts');
    this.warn(await requeue());
  }

  /** What the output depends on. */
  #settings(): Record<string, unknown> {
    const flags = Object.entries(this.#common).filter(
      ([name, value]) => !passingFlags.has(name) && value !== undefined,
    );
    // A login in a server's URL is nobody else's business.
    const shown = flags.map(([name, value]) => [name, typeof value === 'string' ? withoutLogins(value) : value]);
    return { command: this.#verb, args: this.args, ...Object.fromEntries(shown), ...this.#moreSettings };
  }
}

/** Failed records of a command whose own rows have no place for an error: in a file beside the output, when there are any. */
class FailedRows {
  readonly path: string;
  numRows = 0;
  #sink: Sink | undefined;

  constructor(output: string) {
    this.path = `${output}.errors.ndjson`;
  }

  push(record: VprefRecord): void {
    this.#sink ??= openTableSink(this.path);
    this.#sink.push(formatLine(record));
    this.numRows += 1;
  }

  async finish(): Promise<void> {
    if (this.#sink === undefined) rmSync(this.path, { force: true });
    else await this.#sink.finish();
  }

  async save(): Promise<void> {
    await this.#sink?.save();
  }
}

/** Slurm has requeued this job: it goes on where it was. */
function isRestarted(): boolean {
  return Number(process.env.SLURM_RESTART_COUNT ?? 0) > 0;
}
