// SPDX-License-Identifier: Apache-2.0
// node --import tsx scripts/record-fixtures.ts: writes fixtures/records/{sampled,annotated,pairs}.ndjson from the demo data.
// Image paths are relative to fixtures/.
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Annotation, VprefRecord } from '../src/records/record.ts';
import { STEER_ATTRIBUTES } from '../src/records/steerlm.ts';
import { newPairReport, pair } from '../src/stages/pair/index.ts';
import { root } from './manifest.ts';

interface Graded {
  question_id: number;
  image: string;
  question: string;
  candidates: ({ text: string } & Record<string, number>)[];
}

const graded = readFileSync(join(root, 'fixtures/demo/data/preference/annotated.jsonl'), 'utf8')
  .trim()
  .split('\n')
  .slice(0, 8)
  .map((line): Graded => JSON.parse(line));
const sampling = { model: 'demo', temperature: 1, max_new_tokens: 64, seed: 0 };

function prompt({ question_id, image, question }: Graded): VprefRecord {
  return {
    id: `q${question_id}`,
    images: [`demo/data/preference/images/${image}`],
    prompt: question,
    source: 'demo/scenes',
  };
}

function annotation({ question_id, candidates }: Graded): Annotation {
  const judged = { guide: 'helpsteer', judge: 'demo', run: 0 };
  // One failed call and one response without a grade.
  if (question_id === 3) return { ...judged, outcome: 'unparsable', text: 'I would say the first one.' };
  const scores = candidates.map((candidate, index) =>
    question_id === 2 && index === 3
      ? null
      : Object.fromEntries(STEER_ATTRIBUTES.map((name) => [name, candidate[name]!])),
  );
  return { ...judged, outcome: 'ok', scores, own_response: candidates[0]!.text };
}

const sampled = graded.map(
  (row): VprefRecord => ({
    ...prompt(row),
    views: [{ name: 'diffusion', ops: [{ op: 'diffusion', step: 800 }], seed: 0 }],
    responses: row.candidates.slice(0, 2).map(({ text }, index) => ({
      text,
      view: index === 0 ? 'original' : 'diffusion',
      finish_reason: 'stop',
    })),
    sampling,
  }),
);
const annotated = graded.map(
  (row): VprefRecord => ({
    ...prompt(row),
    responses: row.candidates.map(({ text }) => ({ text, view: 'original', finish_reason: 'stop' })),
    sampling,
    annotations: [annotation(row)],
  }),
);

async function pairs(): Promise<VprefRecord[]> {
  const rules = {
    scoring: { metrics: { helpfulness: 1, correctness: 1, coherence: 1 } },
    margin: 1,
    ties: 'first' as const,
    finishedOnly: false,
    from: 'reference' as const,
    seed: 0,
    faithful: false,
  };
  const stage = pair({ rule: 'score', rules, imageNegatives: [], flip: 0, filters: {} }, newPairReport());
  const made: VprefRecord[] = [];
  async function* rows() {
    for (const [index, record] of annotated.entries()) yield { record, source: 'annotated.ndjson', line: index + 1 };
  }
  for await (const { records } of stage(rows())) made.push(...records);
  return made.map(({ responses: _, annotations: __, ...rest }) => rest as VprefRecord);
}

const write = (name: string, records: VprefRecord[]) =>
  writeFileSync(join(root, 'fixtures/records', name), records.map((record) => `${JSON.stringify(record)}\n`).join(''));
write('sampled.ndjson', sampled);
write('annotated.ndjson', annotated);
write('pairs.ndjson', await pairs());
