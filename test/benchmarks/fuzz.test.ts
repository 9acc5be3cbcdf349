// SPDX-License-Identifier: Apache-2.0
// A damaged file is a message about a place, never an internal error: leaves of every set are replaced at random.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { RecordError, RunError, UsageError } from '../../src/records/error.ts';
import { type RandomStream, randomStream } from '../../src/records/random.ts';
import { evaluateContents, fixture } from '../support/evaluate.ts';

const sets: [string, string[], string[]][] = [
  ['pope', ['pope/answers_random.json'], ['pope/coco_pope_random.json']],
  ['mmvet', ['mmvet/model_gpt-4-0613-grade-3runs.json'], ['mmvet/mm-vet.json']],
  ['llava-bench', ['llava-bench/review.jsonl'], ['llava-bench/questions.jsonl']],
  ['seed-bench', ['seed-bench/answers.jsonl'], ['seed-bench/SEED-Bench.json']],
  ['shr', ['shr/judgement.json'], ['shr/val_images_final.json']],
  ['scienceqa', ['scienceqa/answers.jsonl'], ['scienceqa/problems.json', 'scienceqa/pid_splits.json']],
  ['gqa', ['gqa/answers.jsonl'], ['gqa/testdev_balanced_questions.json', 'gqa/testdev_choices.json']],
  ['mt-bench', ['mt-bench/gpt-4_single.jsonl'], ['mt-bench/question.jsonl']],
  ['mt-bench', ['mt-bench/gpt-4_pair.jsonl'], []],
  ['alpaca-eval', ['alpaca-eval/annotations.json'], ['alpaca-eval/alpaca_eval.json']],
  ['length', ['pope/llava-v1.5-7b.jsonl'], []],
];
const judgedRecord = {
  id: 'x/1',
  images: ['a.jpg'],
  prompt: [
    { role: 'user', content: 'q' },
    { role: 'assistant', content: null },
    { role: 'user', content: 'r' },
  ],
  reference: 'A',
  choices: ['a', 'b'],
  meta: { question_id: '1', split: 'random', capability: ['rec'], category: 'conv', objects: ['dog'] },
  responses: [
    { text: 'A', turns: ['z', 'A'], label: 'greedy', view: 'original' },
    { text: 'B', label: 't0.7' },
  ],
  annotations: ['mm-vet', 'llava-bench', 'mt-bench', 'alpaca-eval', 'consistency', 'shr', 'mmbench-extract'].map(
    (guide) => ({
      guide,
      judge: 'j',
      run: 1,
      outcome: 'ok',
      scores: [0, 1].map(() => ({
        grade: 1,
        reference_score: 8,
        score: 7,
        rating_turn_1: 7,
        rating_turn_2: 8,
        q_consistency: 7,
        a_consistency: 7,
      })),
      verdict: [
        { turn: 1, winner: 0, games: [0], choice: 'A', sentences: [{ text: 's', label: 'correct' }] },
        { choice: 'B' },
      ],
    }),
  ),
  choice_logps: [-1, -2],
  policy_chosen_logps: -1,
  policy_rejected_logps: [-2],
  ref_chosen_logps: -1,
  ref_rejected_logps: [-2],
};
const ofRecords = [
  'pope',
  'mmvet',
  'llava-bench',
  'mmbench',
  'seed-bench',
  'shr',
  'scienceqa',
  'mt-bench',
  'alpaca-eval',
  'consistency',
  'hallucination',
  'exact',
  'length',
  'rewards',
];

const JUNK: unknown[] = [null, 7, -1, 1e300, '', 'x', '7', true, [], {}, [null], [[]], { a: null }, 'yes', [1, 2]];

/** A copy with one member somewhere replaced or removed. */
function damage(value: unknown, stream: RandomStream): unknown {
  if (typeof value !== 'object' || value === null) return JUNK[stream.nextInt(JUNK.length)];
  const keys = Object.keys(value);
  if (keys.length === 0 || stream.nextInt(8) === 0) return JUNK[stream.nextInt(JUNK.length)];
  const key = keys[stream.nextInt(keys.length)]!;
  const copy = (Array.isArray(value) ? [...value] : { ...value }) as Record<string, unknown>;
  if (stream.nextInt(10) === 0 && !Array.isArray(value)) delete copy[key];
  else copy[key] = damage(copy[key], stream);
  return copy;
}

function readSet(path: string): unknown {
  const text = readFileSync(fixture(`eval/${path}`), 'utf8');
  return /\.jsonl$|coco_pope|answers_random/.test(path)
    ? text
        .trim()
        .split('\n')
        .map((line) => JSON.parse(line))
    : JSON.parse(text);
}

async function mustBeTold(
  benchmark: string,
  answers: Record<string, object>,
  labels: Record<string, object>,
  about: string,
) {
  for (const parse of ['official', 'strict'] as const)
    try {
      const { rows } = await evaluateContents(benchmark, answers, labels, {
        allowMissing: true,
        duplicates: 'first',
        parse,
      });
      for (const row of rows) JSON.stringify(row);
    } catch (error) {
      const isTold = error instanceof RecordError || error instanceof UsageError || error instanceof RunError;
      if (!isTold) throw new Error(`${benchmark}, ${about}: ${(error as Error).stack}`);
      assert.ok(error.message.length > 0);
    }
}

const ROUNDS = Number(process.env.FUZZ_ROUNDS ?? 25);

for (const [benchmark, answerPaths, labelPaths] of sets)
  test(`${benchmark}: ${answerPaths[0]}`, async () => {
    for (let round = 0; round < ROUNDS; round++) {
      const stream = randomStream(round, 'eval fuzz', benchmark, answerPaths[0]!);
      const files = [...answerPaths, ...labelPaths].map((path): [string, unknown] => [path, readSet(path)]);
      const victim = files[stream.nextInt(files.length)]!;
      for (let hits = 1 + stream.nextInt(3); hits > 0; hits--) victim[1] = damage(victim[1], stream);
      const part = (paths: string[]) =>
        Object.fromEntries(files.filter(([path]) => paths.includes(path)).map(([path, value]) => [path, wrap(value)]));
      await mustBeTold(benchmark, part(answerPaths), part(labelPaths), `round ${round} of ${victim[0]}`);
    }
  });

for (const benchmark of ofRecords)
  test(`${benchmark}: a record`, async () => {
    for (let round = 0; round < 4 * ROUNDS; round++) {
      const stream = randomStream(round, 'eval fuzz', benchmark, 'record');
      const record = damage(judgedRecord, stream);
      await mustBeTold(benchmark, { 'in.ndjson': [wrap(record)] as object }, {}, `round ${round}`);
    }
  });

function wrap(value: unknown): object {
  return typeof value === 'object' && value !== null ? value : { value };
}
