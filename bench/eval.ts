// SPDX-License-Identifier: Apache-2.0
// Scoring at full size, start-up included: 14,233 SEED rows and 9,000 POPE rows, as answer files and as records.
// Target: under 1 s each.
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { randomStream } from '../src/records/random.ts';
import { compare, report, vpref } from './support/run.ts';

const folder = mkdtempSync(join(tmpdir(), 'vpref-bench-eval-'));
const write = (name: string, rows: object[] | object) => {
  const text = Array.isArray(rows) ? rows.map((row) => `${JSON.stringify(row)}\n`).join('') : JSON.stringify(rows);
  writeFileSync(join(folder, name), text);
  return join(folder, name);
};
const draw = randomStream(0, 'bench/eval');
const range = (n: number) => Array.from({ length: n }, (_, k) => k);
const record = (id: string, prompt: string, text: string) => ({
  id,
  images: [`images/${id}.jpg`],
  prompt,
  meta: { question_id: id.replace(/^.*\//, ''), split: id.split('/')[1] },
  responses: [{ text, view: 'original', logps: -1.25, num_tokens: 3, finish_reason: 'stop', seed: 1 }],
  sampling: { model: 'sha256:0000', temperature: 0, template: 'vicuna_v1', image_mode: 'pad', dtype: 'bf16' },
});

// The official file also has the 5,009 video questions.
const questions = range(19_242).map((n) => ({
  answer: 'ABCD'[draw.nextInt(4)],
  ...Object.fromEntries([...'abcd'].map((letter) => [`choice_${letter}`, `A long enough option ${letter} of ${n}`])),
  data_id: `${n}_image`,
  data_type: n < 14_233 ? 'image' : 'video',
  question: `What can be said about the thing in the middle of picture ${n}?`,
  question_id: n < 14_233 ? String(n) : `v${n}`,
  question_type_id: 1 + (n % 9) + (n < 14_233 ? 0 : 3),
}));
const types = Object.fromEntries(range(12).map((n) => [`Type ${n + 1}`, n + 1]));
const seed = questions.slice(0, 14_233).map((question, n) => ({
  question_id: n,
  prompt: `${question.question}\nA. one\nB. two\nC. three\nD. four\nAnswer with the option's letter from the given choices directly.`,
  text: draw.nextInt(3) > 0 ? question.answer : 'A',
  answer_id: `abcdefghijklmnopqrst${n}`,
  model_id: 'llava-v1.5-13b',
  metadata: {},
}));
const seedLabels = write('SEED-Bench.json', { questions, question_type: types });
const seedAnswers = write('seed.jsonl', seed);
const seedRecords = write(
  'seed.ndjson',
  seed.map((row) => record(`seed-bench/image/${row.question_id}`, row.prompt, row.text!)),
);

const splits = ['random', 'popular', 'adversarial'];
const popeLabels = splits.map((split) =>
  write(
    `coco_pope_${split}.json`,
    range(3000).map((n) => ({
      question_id: n + 1,
      image: `COCO_val2014_${String(Math.floor(n / 6)).padStart(12, '0')}.jpg`,
      text: `Is there a thing number ${n} in the image?`,
      label: n % 2 === 0 ? 'yes' : 'no',
    })),
  ),
);
const pope = splits.flatMap((split) =>
  range(3000).map((n) => ({ split, id: n + 1, text: draw.nextInt(5) > 0 === (n % 2 === 0) ? 'Yes, there is.' : 'No' })),
);
const popeAnswers = write(
  'pope.jsonl',
  pope.map(({ split, id, text }) => ({ question_id: id, category: split, text, model_id: 'm', metadata: {} })),
);
const popeRecords = write(
  'pope.ndjson',
  pope.map(({ split, id, text }) => record(`pope/${split}/${id}`, 'Is there a thing in the image?', text)),
);

const subjects = [
  { name: 'seed-bench 14,233 answers', argv: ['eval', 'seed-bench', seedAnswers, '--labels', seedLabels] },
  { name: 'seed-bench 14,233 records', argv: ['eval', 'seed-bench', seedRecords, '--labels', seedLabels] },
  { name: 'pope 9,000 answers', argv: ['eval', 'pope', popeAnswers, '--labels', ...popeLabels] },
  { name: 'pope 9,000 records', argv: ['eval', 'pope', popeRecords, '--labels', ...popeLabels] },
].map(({ name, argv }) => ({ name, argv: [...vpref, ...argv] }));
try {
  for (const { name, wall, wallMedian, cpu, peakBytes } of await compare(subjects, 7))
    report('eval', {
      name,
      seconds: Number(wall.toFixed(3)),
      median_seconds: Number(wallMedian.toFixed(3)),
      cpu_seconds: Number(cpu.toFixed(3)),
      peak_mebibytes: Math.round(peakBytes / 2 ** 20),
      target_seconds: 1,
    });
} finally {
  rmSync(folder, { recursive: true, force: true });
}
