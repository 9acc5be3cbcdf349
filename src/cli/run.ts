// SPDX-License-Identifier: Apache-2.0
// One run of a command: command line, counts, messages and exit code.

import type { Row, RowResult } from '../flow/stage.ts';
import { count } from '../records/count.ts';
import { BAD_RECORD, type RecordError, UsageError } from '../records/error.ts';
import type { VprefRecord } from '../records/record.ts';
import { isDevice } from './device-sink.ts';
import { BrokenPipeError, exitCode, StoppedError, stoppedError } from './exit.ts';
import { FailedRows } from './failed-rows.ts';
import type { OutputFlagValues, RecordFlagValues } from './flags.ts';
import { type BadRow, checkFiles, type InputRow, readRows } from './input.ts';
import { type Done, nothingDone } from './journal.ts';
import { lockBeside, lockInside, makeLockedFolder, OutputLock } from './lock.ts';
import { openSink, openTableSink } from './output.ts';
import { checkOutputPath } from './partial-file.ts';
import { MAX_REPORTED, type PipeOptions } from './pipe.ts';
import { type Figures, newCounts, type ProgressState, Reporter } from './progress.ts';
import type { Parsed, RunContext, TableRunOptions } from './run-context.ts';
import { settingsOf, summaryCounts, writeSummary } from './run-summary.ts';
import type { Sink } from './sink.ts';
import { listenForStop } from './stop.ts';

type AnyFlags = Partial<RecordFlagValues> & OutputFlagValues;

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
  /** Rows that earlier starts of a resumed output wrote and dropped. */
  #earlier: Pick<Done, 'rows' | 'dropped'> = nothingDone();
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
    // Rows and a progress line would overwrite each other on one terminal.
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

  noteUnused(flags: Partial<Record<'seed' | 'threads', string>>): void {
    for (const [name, why] of Object.entries(flags)) if (this.given.has(name)) this.note(`--${name}: ${why}`);
  }

  /** Makes this run the only writer of FILE. Throws RunError{"locked"} if there is another writer, UsageError if FILE cannot be created. */
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
    // Release it however the process ends, except by SIGKILL.
    process.once('exit', () => {
      this.#lock?.release();
      afterwards?.();
    });
  }

  silence(): void {
    this.#speaks = false;
    this.#reporter.endLine();
  }

  showFigures(figures: Figures): void {
    this.#reporter.figures = figures;
  }

  showTask(name: string, share: number): void {
    this.#reporter.task(name, share);
  }

  /** Throws UsageError if there is no input, or a file cannot be read. */
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
    if (this.counts.passed > 0)
      this.note(`${count(this.counts.passed, 'record')} left out: failed in an earlier stage`);
  }

  failed(error: RecordError, record?: VprefRecord): void {
    if ((this.#common['on-error'] ?? 'fail') === 'fail') throw error;
    this.counts.skipped += 1;
    if (record !== undefined)
      this.#failedRows?.push({ ...record, error: { stage: this.#verb, code: BAD_RECORD, message: error.message } });
    if (this.counts.skipped <= MAX_REPORTED) this.warn(error.message);
    else if (this.counts.skipped === MAX_REPORTED + 1) this.warn('more records failed: they are counted, not printed');
  }

  /** The results of this shard, until a stop request. */
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
    const startOver = this.#needsAllRows;
    const resume = this.resumes && !startOver;
    const sink = await openSink(output, {
      ...{ resume, startOver, isRestart: this.#common.resume !== true },
      ...{ settings: this.#settings(), lock: this.#lock },
    });
    const { done } = sink;
    if (done.rows > 0) this.note(`resuming after ${count(done.rows, 'row')} of ${output}`);
    this.#earlier = done;
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

  /** The same for rows that are not records. */
  async writeTable(
    pipe: (sink: Sink) => Promise<void>,
    { toStdout = false, resumable = false, keepsFailed = false }: TableRunOptions = {},
  ): Promise<void> {
    const { output, 'on-error': onError } = this.#common;
    const path = toStdout ? undefined : output;
    const sink = openTableSink(path, { resumable, resume: resumable && this.resumes, lock: this.#lock });
    if (keepsFailed && onError === 'keep' && path !== undefined) this.#failedRows = new FailedRows(path);
    if (toStdout && process.stdout.isTTY) this.#reporter.shareTerminal();
    await this.#finishing(sink, () => pipe(sink), { isTable: true });
    const { skipped } = this.counts;
    await this.#failedRows?.finish();
    if (skipped === 0) return;
    this.note(
      `${count(skipped, 'record')} failed and left out${this.#failedRows?.numRows ? `: written to ${this.#failedRows.path}` : ''}`,
    );
    process.exitCode = exitCode.partial;
  }

  get resumes(): boolean {
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
    const { summary } = this.#common;
    // Only one rank writes it.
    if (summary === undefined || !this.#speaks) return;
    const counts = summaryCounts(this.counts, this.#earlier, !isTable);
    writeSummary(summary, { summary: this.#verb, ...counts, ...this.#figures(), settings: this.#settings() });
  }

  /** A failure to save is printed in addition to the error that ended the run. */
  async #save(sink: Sink): Promise<void> {
    try {
      await sink.save();
      await this.#failedRows?.save();
    } catch (error) {
      if (!(error instanceof BrokenPipeError)) this.warn(`not all rows could be saved: ${(error as Error).message}`);
    }
  }

  /** Only SIGUSR1 is a time limit: SIGTERM also comes from scancel, and a preempted job is requeued by Slurm. */
  async #requeue(error: unknown): Promise<void> {
    if (this.#common.requeue !== true || !this.#speaks) return;
    if (!(error instanceof StoppedError) || error.signal !== 'SIGUSR1') return;
    const { requeue } = await import('./requeue.ts');
    this.warn(await requeue());
  }

  #settings(): Record<string, unknown> {
    return { command: this.#verb, args: this.args, ...settingsOf(this.#common), ...this.#moreSettings };
  }
}

/** Whether Slurm requeued this job: it then resumes. */
function isRestarted(): boolean {
  return Number(process.env.SLURM_RESTART_COUNT ?? 0) > 0;
}
