// SPDX-License-Identifier: Apache-2.0
// The process: start oclif, turn what comes back into an exit code, leave when stdout has been read.
import { type Interfaces, run } from '@oclif/core';
import { exitCode, exitCodeOf, messageOf } from './exit.ts';
import { drainStdout, watchStdout } from './output.ts';
import { endRanks } from './ranks.ts';
import { messageLine, visible } from './terminal.ts';

/** Runs the command line and ends the process. oclif's own ending loses rows that a slow reader has not taken. */
export async function main(options: Interfaces.LoadOptions, argv = process.argv.slice(2)): Promise<void> {
  watchStdout(() => {
    void endRanks(undefined, exitCode.brokenPipe);
    process.exit(exitCode.brokenPipe);
  });
  let code: number;
  try {
    await run(argv, options);
    await drainStdout();
    code = Number(process.exitCode ?? exitCode.ok);
  } catch (error) {
    code = await fail(error, argv);
    await endRanks(error, code);
  }
  process.exit(code);
}

async function fail(error: unknown, argv: string[]): Promise<number> {
  const message = messageOf(error);
  if (message !== undefined) {
    const verb = argv[0] === undefined || argv[0].startsWith('-') ? '' : ` ${visible(argv[0])}`;
    await new Promise((resolve) => process.stderr.write(messageLine(`vpref${verb}`, message), resolve));
    if (process.env.DEBUG !== undefined && error instanceof Error)
      process.stderr.write(`${visible(error.stack ?? '')}\n`);
  }
  // Rows written before the error are still on their way.
  await drainStdout().catch(() => {});
  return exitCodeOf(error);
}
