// SPDX-License-Identifier: Apache-2.0
// node --import tsx scripts/update-examples.ts PAGE...: writes the current outputs of the "$" examples into these pages.
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { blockSteps, EXACT, matches, runStep, stepFolder } from '../test/support/examples.ts';
import { root } from './manifest.ts';
import { unroff, verbatim } from './roff.ts';

for (const path of process.argv.slice(2)) {
  const isRoff = !path.endsWith('.md');
  const pattern = isRoff ? /^\.nf\n(\$ [\s\S]*?)^\.fi$/gm : /^```\w*\n(\$ [\s\S]*?)^```$/gm;
  const changed = (text: string, change: (line: string) => string) =>
    isRoff ? text.split('\n').map(change).join('\n') : text;
  const folder = stepFolder();
  let text = readFileSync(join(root, path), 'utf8');
  for (const [, block] of [...text.matchAll(pattern)]) {
    const printed: string[] = [];
    for (const step of blockSteps(changed(block!, unroff))) {
      const { code, lines } = await runStep(step, folder);
      if (code !== 0) console.error(`${path}: exit status ${code}: ${step.command}`);
      // A line that ends in "..." stays if it still matches.
      const kept = lines.map((line, i) => (matches(step.output[i] ?? '', line, EXACT) ? step.output[i]! : line));
      printed.push(`$ ${step.command}`, ...kept);
    }
    text = text.replace(block!, () => `${changed(printed.join('\n'), verbatim)}\n`);
  }
  writeFileSync(join(root, path), text);
}
