// SPDX-License-Identifier: Apache-2.0
// Base of all commands: oclif parses the flags; a run method connects input, stage and output.
import { Command, type Interfaces } from '@oclif/core';
import type { RowResult, Stage } from '../flow/stage.ts';
import { UsageError } from '../records/error.ts';
import type { OutputFlagValues, RecordFlagValues } from './flags.ts';
import { pipeResults, pipeRows, pipeTable } from './pipe.ts';
import { Run } from './run.ts';
import type { Parsed, RunContext, TableRunOptions } from './run-context.ts';

interface CommandClass<F, A> {
  flags: Interfaces.FlagInput;
  args?: Interfaces.ArgInput;
  /** Carry the types of the parsed flags and arguments; never set. */
  flagValues?: F;
  argValues?: A;
}

type FlagsOf<C extends CommandClass<unknown, unknown>> = Interfaces.InferredFlags<C['flags']>;
type ArgsOf<C extends CommandClass<unknown, unknown>> = Interfaces.InferredArgs<NonNullable<C['args']>>;

/** Base of all commands: `vpref VERB [ARGS] [FILE...]`. */
export abstract class RecordCommand extends Command {
  // FILE... has no end: the parser's count of arguments is off, and unknown flags are still refused.
  static override strict = false;

  /** Common flags that this command refuses, with the reason printed in the error and the manual. */
  static inapplicable: Readonly<Record<string, string>> = {};

  /** Reads records, writes records: `make` returns the stage. */
  protected async runStage<C extends CommandClass<unknown, unknown>>(
    command: C,
    make: (context: RunContext<FlagsOf<C>, ArgsOf<C>>) => Stage | Promise<Stage>,
  ): Promise<void> {
    const run = await this.#start(command);
    run.needInput();
    await run.holdOutput();
    const stage = await make(run);
    await run.write((options) => pipeRows(run.readRows(options.sink), stage, options));
  }

  /** Reads no records: `make` returns the results, such as those of an import, and reads `files` itself. */
  protected async runSource<C extends CommandClass<unknown, unknown>>(
    command: C,
    make: (context: RunContext<FlagsOf<C>, ArgsOf<C>>) => AsyncIterable<RowResult> | Promise<AsyncIterable<RowResult>>,
  ): Promise<void> {
    const run = await this.#start(command);
    await run.holdOutput();
    const results = await make(run);
    await run.write((options) => pipeResults(run.selectResults(results), options));
  }

  /** Writes rows of another kind (metrics, scores), as objects or finished lines. */
  protected async runTable<C extends CommandClass<unknown, unknown>>(
    command: C,
    make: (
      context: RunContext<FlagsOf<C>, ArgsOf<C>>,
    ) => AsyncIterable<object | string> | Promise<AsyncIterable<object | string>>,
    options: TableRunOptions = {},
  ): Promise<void> {
    const run = await this.#start(command);
    if (!options.toStdout) await run.holdOutput();
    const rows = await make(run);
    await run.writeTable((sink) => pipeTable(rows, sink), options);
  }

  async #start<C extends CommandClass<unknown, unknown>>(command: C): Promise<Run<FlagsOf<C>, ArgsOf<C>>> {
    // Otherwise a repeatable flag would take the input files after it.
    for (const flag of Object.values(command.flags))
      if (flag.type === 'option' && flag.multiple && flag.multipleNonGreedy === undefined)
        Object.assign(flag, { multipleNonGreedy: true });
    this.#refuseInapplicable((this.constructor as typeof RecordCommand).inapplicable);
    const { flags, args, raw } = await this.parse({ ...command, strict: false } as unknown as typeof RecordCommand);
    const positional = raw.filter((token) => token.type === 'arg').map(({ input }) => input);
    const files = positional.slice(Object.keys(command.args ?? {}).length);
    const given = new Set(raw.flatMap((token) => (token.type === 'flag' ? [token.flag] : [])));
    refuseEmptyPaths(command.flags, flags, files);
    const parsed = { flags, args, files, given } as unknown as Parsed<FlagsOf<C>, ArgsOf<C>>;
    return new Run(
      this.id ?? '',
      parsed as Parsed<FlagsOf<C> & Partial<RecordFlagValues> & OutputFlagValues, ArgsOf<C>>,
    );
  }

  #refuseInapplicable(inapplicable: Readonly<Record<string, string>>): void {
    const end = this.argv.indexOf('--');
    for (const word of end < 0 ? this.argv : this.argv.slice(0, end)) {
      const name = /^--([a-z-]+)/.exec(word)?.[1];
      if (name !== undefined && Object.hasOwn(inapplicable, name))
        throw new UsageError(`--${name}: ${this.id} has no such flag: ${inapplicable[name]}`);
    }
  }
}

// An unset variable in a script gives "": neither a path nor an absent flag.
function refuseEmptyPaths(definitions: Interfaces.FlagInput, flags: Record<string, unknown>, files: string[]): void {
  if (files.includes('')) throw new UsageError('FILE: expected the name of a file, got ""');
  for (const [name, { char, ...definition }] of Object.entries(definitions)) {
    const { helpValue } = definition as { helpValue?: unknown };
    const isPath = typeof helpValue === 'string' && /FILE|DIR|URL/.test(helpValue);
    if (isPath && [flags[name]].flat().includes(''))
      throw new UsageError(`${char === undefined ? `--${name}` : `-${char}`}: expected ${helpValue}, got ""`);
  }
}
