#!/usr/bin/env node
// SPDX-License-Identifier: Apache-2.0
// Splits responses about the demo's images into claims: one per kind of object that a response names, such as "a dog" or "an apple".
//   vpref annotate --guide examples/demo-claims.md --claims 'exec:node examples/object-claims.mjs CLASSES.json' ...
// An answer to a yes-no question repeats the object of the question, so it gives no claim.
import { readFileSync } from 'node:fs';
import { createInterface } from 'node:readline';

const { groups, plural } = JSON.parse(readFileSync(process.argv[2], 'utf8'));
const names = Object.values(groups).flat();
const article = (name) => (/^[aeiou]/.test(name) ? `an ${name}` : `a ${name}`);
const named = (text) =>
  names.filter((name) => new RegExp(`\\b(?:${name}|${plural[name] ?? `${name}s`})\\b`).test(text)).map(article);

for await (const line of createInterface({ input: process.stdin })) {
  const { id, answers } = JSON.parse(line);
  const { text } = answers[0];
  const claims = /^(Yes|No)\b/.test(text) ? [] : named(text);
  process.stdout.write(`${JSON.stringify({ id, reply: { claims } })}\n`);
}
