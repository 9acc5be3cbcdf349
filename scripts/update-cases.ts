// SPDX-License-Identifier: Apache-2.0
// node --import tsx scripts/update-cases.ts [VERB/CASE-PREFIX...]: writes the current outputs of the cases to their folders.
import { isDeepStrictEqual } from 'node:util';
import { listCases, runCase, updateCase } from '../test/support/case.ts';

const wanted = process.argv.slice(2);
for (const name of listCases()) {
  if (wanted.length > 0 && !wanted.some((prefix) => name.startsWith(prefix))) continue;
  const outcome = await runCase(name);
  if (isDeepStrictEqual(outcome.actual, outcome.expected)) continue;
  updateCase(name, outcome);
  console.log(`${name}: code ${outcome.actual.code?.trim()}`);
}
