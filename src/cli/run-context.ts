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
  /** Positional arguments after named ones: input files, "-" for stdin. */
  files: string[];
  /** Names of the flags on the command line; others have their defaults. */
  given: ReadonlySet<string>;
}

/** Argument of a command's factory. */
export interface RunContext<F, A> extends Parsed<F, A> {
  /** Whether --resume is given, or Slurm restarted the job. */
  readonly resumes: boolean;
  /** Aborts on a stop request. The input then ends automatically; long work may listen too. */
  stop: AbortSignal;
  /** Prints a line to stderr unless --quiet. */
  note(message: string): void;
  /** Prints a line to stderr. */
  warn(message: string): void;
  /** Shows a progress line until the run ends, if enabled; `line` gets the seconds since this call. */
  showLine(line: (seconds: number) => ProgressState): void;
  /** Runs after all rows are written, before the summary. */
  atEnd(action: () => void | Promise<void>): void;
  /** Adds members to the row of --summary at the end of the run. */
  addFigures(figures: () => object): void;
  /** Records of `files`, or stdin, for commands that read them themselves; failed ones are skipped and counted. */
  records(): AsyncGenerator<Row>;
  /** A row of `records` failed: throws with --on-error fail, else warns and counts it. */
  failed(error: RecordError, record?: VprefRecord): void;
  /** Because of this flag, output rows depend on all input rows: refuses --shard and --resume; a restarted job starts over. */
  needAllRows(flag: string): void;
  /** Figures of the progress line besides rows, rate and time left. */
  showFigures(figures: Figures): void;
  /** Progress of a task before the rows. */
  showTask(name: string, share: number): void;
  /** Settings that the output depends on besides flags and arguments; a resumed run must have the same. */
  addSettings(settings: object): void;
  /** The run's counts, for commands that read their files themselves. */
  readonly counts: RunCounts;
  /** Notes each given common flag that has no effect in this command. */
  noteUnused(flags: Partial<Record<'seed' | 'threads', string>>): void;
  /** Makes this run the only writer of the directory of -o, for commands that write it themselves; `isNew`: it must not exist. */
  holdFolder(folder: string, options?: { isNew?: boolean }): Promise<void>;
  /** A secondary rank: suppress notes, warnings and requeueing. */
  silence(): void;
}

export interface TableRunOptions {
  /** The command writes -o itself. */
  toStdout?: boolean;
  /** --resume continues an unfinished file. */
  resumable?: boolean;
  /** --on-error keep writes failed records to FILE.errors.ndjson. */
  keepsFailed?: boolean;
}
