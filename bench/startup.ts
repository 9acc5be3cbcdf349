// SPDX-License-Identifier: Apache-2.0
// Start-up of commands that do nothing, against node and jq in the same run. Target: 150 ms for a data stage on Node 20.
import { idleCommands } from './support/commands.ts';
import { compare, has, report, type Subject, vpref } from './support/run.ts';

const subjects: Subject[] = [
  { name: 'node -e 0', argv: [process.execPath, '-e', '0'] },
  ...(has('jq') ? [{ name: 'jq .', argv: ['jq', '.'] }] : []),
  ...idleCommands(vpref),
];

for (const { name, wall, wallMedian } of await compare(subjects, 15))
  report('startup', { name, min_ms: Math.round(wall * 1000), median_ms: Math.round(wallMedian * 1000) });
