// SPDX-License-Identifier: Apache-2.0
// Every benchmark's folder is whole, and a new one is a folder and a line.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import {
  appendFileSync,
  cpSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { benchmarks } from '../../src/benchmarks/by-name.ts';
import { guideNames, loadGuide } from '../../src/stages/annotate/guide.ts';
import { FORMAT_FLAGS } from '../../src/stages/import/format.ts';
import { importFormats } from '../../src/stages/import/index.ts';
import { root, runCli, temporaryFolder } from '../support/run-cli.ts';

const folders = readdirSync(join(root, 'src/benchmarks'), { withFileTypes: true })
  .filter((entry) => entry.isDirectory() && entry.name !== 'scoring')
  .map(({ name }) => name);

test('each folder is registered by its name, has its descriptions, and its guides load', () => {
  assert.deepEqual([...benchmarks.keys()], folders.sort());
  for (const [name, benchmark] of benchmarks) {
    const folder = join(root, 'src/benchmarks', name);
    const prose = readFileSync(join(folder, 'man.md'), 'utf8');
    assert.match(prose, /^eval: ./m, name);
    assert.match(prose, new RegExp(`^example: (?:.*\\| )?vpref eval ${name}\\b`, 'm'), name);
    assert.equal(/^import: ./m.test(prose), benchmark.import !== undefined, name);
    assert.ok(benchmark.scored.length > 0, name);
    for (const file of readdirSync(folder).filter((file) => file.endsWith('.guide.md'))) {
      const guide = file.slice(0, -'.guide.md'.length);
      assert.equal(loadGuide(guide).name, guide);
      assert.match(prose, new RegExp(`^guide ${guide}: .`, 'm'), name);
    }
    for (const { method, scores } of benchmark.published ?? [])
      assert.ok(Object.values(scores).length > 0, `${name}: ${method}`);
  }
});

test('each format lists the flags of import that its source reads; import refuses the others', async () => {
  const reads = {
    turns: /\bnumTurns[:,]|\bdialogueInfo\(/,
    protocol: /\bwithEnding\(/,
    'noisy-images': /\bnoisyImages\b/,
  };
  for (const [name, { flags = [] }] of Object.entries(importFormats)) {
    const file = benchmarks.has(name)
      ? `src/benchmarks/${name}/import.ts`
      : `src/stages/import/${name === 'alpaca' ? 'llama-factory' : name}.ts`;
    const source = readFileSync(join(root, file), 'utf8');
    for (const flag of FORMAT_FLAGS) assert.equal(flags.includes(flag), reads[flag].test(source), `${name}: ${flag}`);
  }
  const { code, stderr } = await runCli(['import', 'records', '--noisy-images', 'x'], { input: '' });
  const message = '--noisy-images: import records does not use it; formats that do: mt-bench';
  assert.deepEqual({ code, stderr }, { code: 2, stderr: `vpref import: ${message}\n` });
});

const TOY: Record<string, string> = {
  'index.ts': `import type { Benchmark } from '../benchmark.ts';
import { benchmarkFormat, idMember, listItems, placeOf, questionsOf, textMember } from '../questions.ts';
import { type Answer, type Label, labelsOfRecords, readAnswers } from '../scoring/answers.ts';
import { accuracyFigures, benchmarkScorer, failedAnswers, type MarkedQuestion, markedItems } from '../scoring/scorer.ts';

interface ToyLabel extends Label {
  truth: string;
}

export const toy: Benchmark = {
  name: 'toy',
  scored: 'the answer is the truth',
  published: [{ method: 'a dice', source: 'toy table 1', scores: { all: 16.5 } }],
  import: benchmarkFormat('toy', 'toy.jsonl', (files) =>
    questionsOf(listItems(files), (value, item) => ({
      id: idMember(value, 'id', placeOf(item)),
      reads: ['id', 'question', 'truth'],
      draft: { prompt: textMember(value, 'question', placeOf(item)), reference: textMember(value, 'truth', placeOf(item)) },
    })),
  ),
  score: benchmarkScorer<ToyLabel, Answer, MarkedQuestion<ToyLabel>>({
    benchmark: 'toy',
    read: ({ answers, options }) => ({
      answers: readAnswers(answers, options),
      labels: labelsOfRecords(answers, 'records', ({ record, id, cluster, at }) => ({
        ...{ id, split: '', cluster, at },
        truth: String(record.reference),
      })),
    }),
    mark: (joined) =>
      joined.map((question) => ({
        ...question,
        mark: { cluster: question.label.cluster, correct: question.answer?.text === question.label.truth },
      })),
    figures: accuracyFigures,
    failed: failedAnswers,
    items: (questions) => markedItems(questions, () => ''),
  }),
};
`,
  'toy.guide.md': readFileSync(join(root, 'guides/helpsteer.md'), 'utf8').replace('name: helpsteer', 'name: toy'),
  'man.md': 'import: toy.jsonl.\neval: truths in percent.\nguide toy: grades of toys.\n',
};

test('a toy benchmark: a folder and a line', { timeout: 120_000 }, async () => {
  await runCli(['--version']); // builds what is copied below
  const copy = temporaryFolder('toy');
  const parts = [
    'src',
    'bin',
    'guides',
    'scripts',
    'man',
    'package.json',
    'METHODS.md',
    'tsconfig.json',
    'oclif.manifest.json',
  ];
  for (const part of parts)
    if (existsSync(join(root, part))) cpSync(join(root, part), join(copy, part), { recursive: true });
  symlinkSync(join(root, 'node_modules'), join(copy, 'node_modules'));
  mkdirSync(join(copy, 'src/benchmarks/toy'));
  for (const [name, text] of Object.entries(TOY)) writeFileSync(join(copy, 'src/benchmarks/toy', name), text);
  appendFileSync(join(copy, 'src/benchmarks/index.ts'), "export { toy } from './toy/index.ts';\n");

  const node = (args: string[], input = '') =>
    execFileSync(process.execPath, ['--import', 'tsx', ...args], { cwd: copy, input, encoding: 'utf8' });
  const record = JSON.parse(node(['bin/dev.js', 'import', 'toy'], '{"id":1,"question":"2 + 2?","truth":"4"}\n'));
  assert.deepEqual([record.id, record.prompt, record.reference], ['toy/1', '2 + 2?', '4']);
  const answered = JSON.stringify({ ...record, responses: [{ text: '4' }] });
  const row = JSON.parse(node(['bin/dev.js', 'eval', 'toy'], answered));
  assert.deepEqual([row.benchmark, row.split, row.n, row.score], ['toy', 'all', 1, 100]);
  assert.match(
    node(['bin/dev.js', 'eval', 'toy', '--format', 'table'], answered),
    /a dice +16\.50 +\+83\.50 +toy table 1/,
  );
  const dry = node(['bin/dev.js', 'annotate', '--guide', 'toy', '--judge', 'openai:m', '--dry-run'], answered);
  assert.match(dry, /./);
  cpSync(join(root, 'oclif.manifest.json'), join(copy, 'oclif.manifest.json'));
  node(['scripts/benchmarks.ts']);
  assert.match(readFileSync(join(copy, 'METHODS.md'), 'utf8'), /^\| toy \| {2}\| the answer is the truth \|$/m);
  node(['scripts/man.ts']);
  for (const page of ['import', 'eval', 'annotate'])
    assert.match(readFileSync(join(copy, `man/vpref-${page}.1`), 'utf8'), /toy/, page);
});

test('a name that is none of them: the error lists them, exit 2', async () => {
  const names = [...benchmarks.keys()].join(', ');
  const formats = [...benchmarks.values()]
    .filter((benchmark) => benchmark.import !== undefined)
    .map(({ name }) => name);
  const answers = join(root, 'fixtures/eval/seed-bench/answers.jsonl');
  const cases: [string[], string][] = [
    [['eval', 'vqa'], `vpref eval: expected one of ${names}, compare, gate, published, got vqa (see --help)\n`],
    [
      ['eval', 'compare', answers, answers],
      `vpref eval: --on: expected the benchmark that scores both runs (${names}), got nothing\n`,
    ],
    [
      ['annotate', '--judge', 'openai:m', '--guide', 'nowhere.md', '-'],
      `vpref annotate: --guide: expected one of ${guideNames().join(', ')}, or a file, got "nowhere.md"\n`,
    ],
    [
      ['import', 'coco'],
      `vpref import: expected one of ${Object.keys(importFormats).join(', ')}, got coco (see --help)\n`,
    ],
  ];
  assert.deepEqual(Object.keys(importFormats).slice(-formats.length), formats);
  for (const [args, message] of cases) {
    const { code, stdout, stderr } = await runCli(args);
    assert.deepEqual({ code, stdout, stderr }, { code: 2, stdout: '', stderr: message });
  }
  const { code, stderr } = await runCli(['import']);
  const listed = `vpref import: format: expected one of ${Object.keys(importFormats).join(', ')}, got nothing (see --help)\n`;
  assert.deepEqual([code, stderr.includes(listed)], [2, true], stderr);
});
