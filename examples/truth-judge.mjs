#!/usr/bin/env node
// SPDX-License-Identifier: Apache-2.0
// A judge with the truth about the demo's scenes, for `vpref annotate --judge 'exec:node examples/truth-judge.mjs DATA'`.
// DATA holds annotations.jsonl (the objects of each scene) and ../classes.json. It compares named objects with present ones,
// and yes or no with the truth, and gives unfinished or repetitive responses lower grades.
import { readFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { createInterface } from 'node:readline';

const data = process.argv[2] ?? 'fixtures/demo/data/preference';
const { groups, plural } = JSON.parse(readFileSync(join(data, '../classes.json'), 'utf8'));
const lines = readFileSync(join(data, 'annotations.jsonl'), 'utf8').trim().split('\n');
const scenes = new Map(lines.map((line) => JSON.parse(line)).map((scene) => [scene.image, scene]));

const classOf = new Map(
  Object.values(groups)
    .flat()
    .flatMap((name) => [
      [name, name],
      [plural[name] ?? `${name}s`, name],
    ]),
);
const forms = [...classOf.keys()].sort((a, b) => b.length - a.length);
const objects = new RegExp(`\\b(${forms.join('|')})\\b`, 'g');
const mentions = (text) => [...text.matchAll(objects)].map(([form]) => classOf.get(form));

/** Share of correct content in a response, 0..1. */
function truth(scene, question, text) {
  const named = [...new Set(mentions(text))];
  const there = Object.keys(scene.counts);
  if (question.startsWith('Is there')) {
    const asked = mentions(question)[0];
    return text.startsWith('Yes') === asked in scene.counts ? 1 : 0;
  }
  const right = named.filter((name) => name in scene.counts).length;
  const f1 = (2 * right) / Math.max(1, named.length + there.length);
  const background = text.includes('background') ? Number(text.includes(scene.background)) : f1;
  return (3 * f1 + background) / 4;
}

function grade(scene, question, text) {
  const named = mentions(text);
  const kinds = new Set(named);
  const isList = !question.startsWith('Is there');
  const right = [...kinds].filter((name) => name in scene.counts).length;
  const correctness = isList && kinds.size > 0 ? right / kinds.size : truth(scene, question, text);
  const words = text.split(/\s+/).length;
  return {
    comment: isList ? `${right} of ${kinds.size} named objects are in the picture` : 'compared with the picture',
    helpfulness: Math.round(4 * truth(scene, question, text)),
    correctness: Math.round(4 * correctness),
    coherence: Math.max(0, 4 - (named.length - kinds.size) - (text.endsWith('.') ? 0 : 2)),
    complexity: Math.min(4, kinds.size),
    verbosity: Math.min(4, Math.floor(words / 7)),
  };
}

for await (const line of createInterface({ input: process.stdin })) {
  const { id, record, answers } = JSON.parse(line);
  const scene = scenes.get(basename(record.images[0]));
  const prompt = typeof record.prompt === 'string' ? record.prompt : record.prompt.at(-1).content;
  const ratings = Object.fromEntries(answers.map(({ label, text }) => [label, grade(scene, prompt, text)]));
  process.stdout.write(`${JSON.stringify({ id, reply: { own_response: '', ratings } })}\n`);
}
