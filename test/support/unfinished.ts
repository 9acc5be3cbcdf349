// SPDX-License-Identifier: Apache-2.0
// What a run leaves that went on with a finished file and was killed: its first bytes.
import { readFileSync, writeFileSync } from 'node:fs';
import { settingsPath } from '../../src/cli/settings-file.ts';

/** Writes `path`.partial and `path`.journal from the first bytes of a finished file. */
export function leaveUnfinished(finished: string, path: string, bytes: number): void {
  const { settings, ...begun } = JSON.parse(readFileSync(settingsPath(finished), 'utf8'));
  writeFileSync(`${path}.partial`, readFileSync(finished).subarray(0, bytes));
  writeFileSync(`${path}.journal`, `${JSON.stringify({ journal: 2, settings, begun })}\n`);
}
