// SPDX-License-Identifier: Apache-2.0
// The interface of a run that commands use.

import type { Row } from '../flow/stage.ts';
import type { RecordError } from '../records/error.ts';
import type { VprefRecord } from '../records/record.ts';
import type { Figures, ProgressState, RunCounts } from './progress.ts';

/** A command line after parsing. */
export interface Parsed<F, A> {
  flags: F;
  args: A;
  /** Positional arguments after the named ones: input files, "-" for stdin. */
  files: string[];
  /** Names of the flags that the command line itself gives; the others have their defaults. */
  given: ReadonlySet<string>;
}

/** Argument of a command's factory. */
export interface RunContext<F, A> extends Parsed<F, A> {
  /** --resume is given, or Slurm has started the job again. */
  readonly resumes: boolean;
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
  /** A row of `records` failed: throws with --on-error fail, else warns and counts it. */
  failed(error: RecordError, record?: VprefRecord): void;
  /** Rows out depend on all rows in, because of this flag: --shard and --resume are refused, a restarted job starts over. */
  needAllRows(flag: string): void;
  /** What the progress line shows beside rows, rate and time left. */
  showFigures(figures: Figures): void;
  /** Progress of a task before the rows. */
  showTask(name: string, share: number): void;
  /** What the output depends on besides flags and arguments: a resumed run must share it. */
  addSettings(settings: object): void;
  /** The run's counts, for commands that read their files themselves. */
  readonly counts: RunCounts;
  /** Notes each given common flag that has no effect in this command. */
  noteUnused(flags: Partial<Record<'seed' | 'threads', string>>): void;
  /** Makes this run the one writer of the directory of -o, for commands that write it themselves; `isNew`: it must not exist. */
  holdFolder(folder: string, options?: { isNew?: boolean }): Promise<void>;
  /** A secondary rank: suppress notes, warnings and requeueing. */
  silence(): void;
}

export interface TableRunOptions {
  /** -o is the command's own. */
  toStdout?: boolean;
  /** --resume continues an unfinished file. */
  resumable?: boolean;
  /** --on-error keep writes failed records to FILE.errors.ndjson. */
  keepsFailed?: boolean;
}
