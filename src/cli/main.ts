// SPDX-License-Identifier: Apache-2.0
// The process: starts oclif, converts its result to an exit code, exits after stdout has been read.
import { writeSync } from 'node:fs';
import { type Interfaces, run } from '@oclif/core';
import { exitCode, exitCodeOf, messageOf } from './exit.ts';
import { STAGES } from './flag-groups.ts';
import { endRanks } from './ranks.ts';
import { drainStdout, watchStdout } from './stdout.ts';
import { messageLine, visible } from './terminal.ts';

const MEANT: readonly number[] = [exitCode.brokenPipe, exitCode.stopped, exitCode.interrupted];

/** Runs the command line and ends the process. oclif's own exit loses rows that a slow reader has not read. */
export async function main(options: Interfaces.LoadOptions, argv = process.argv.slice(2)): Promise<void> {
  watchStdout(() => {
    void endRanks(undefined, exitCode.brokenPipe);
    process.exit(exitCode.brokenPipe);
  });
  const unwatch = watchUnsettled(argv);
  let code: number;
  try {
    await run(withoutHelpVerb(argv), options);
    await drainStdout();
    code = Number(process.exitCode ?? exitCode.ok);
  } catch (error) {
    code = await fail(error, argv);
    await endRanks(error, code);
  }
  unwatch();
  process.exit(code);
}

/** `vpref help` and `vpref help VERB` are `vpref --help` and `vpref VERB --help`. */
function withoutHelpVerb(argv: string[]): string[] {
  if (argv[0] !== 'help') return argv;
  const isVerb = argv[1] === undefined || STAGES.some(({ verbs }) => verbs.includes(argv[1]!));
  return isVerb ? [...argv.slice(1), '--help'] : argv.slice(1);
}

/**
 * Node exits silently with status 13 if the event loop is empty while the run still waits: report such an exit.\n * Returns the function that removes the listener.
 */
function watchUnsettled(argv: string[]): () => void {
  const report = (code: number) => {
    // Signals and broken pipes end the process themselves.
    if (MEANT.includes(code)) return;
    writeSync(2, messageLine(`vpref${visible(verbOf(argv))}`, 'internal error: the run ended before it was complete'));
    process.exitCode = exitCode.failed;
  };
  process.once('exit', report);
  return () => void process.off('exit', report);
}

function verbOf(argv: string[]): string {
  return argv[0] === undefined || argv[0].startsWith('-') ? '' : ` ${argv[0]}`;
}

async function fail(error: unknown, argv: string[]): Promise<number> {
  const message = messageOf(error);
  if (message !== undefined) {
    await new Promise((resolve) =>
      process.stderr.write(messageLine(`vpref${visible(verbOf(argv))}`, message), resolve),
    );
    if (process.env.DEBUG !== undefined && error instanceof Error)
      process.stderr.write(`${visible(error.stack ?? '')}\n`);
  }
  // Rows written before the error may not have been read.
  await drainStdout().catch(() => {});
  return exitCodeOf(error);
}
