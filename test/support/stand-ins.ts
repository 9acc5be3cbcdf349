// SPDX-License-Identifier: Apache-2.0
// Small files of the names that examples use: bundled models under the names of real ones, a few questions, pictures and records. With
// them a command line that a page shows runs as it stands.
import { copyFileSync, mkdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { demoPairs, demoPrompts } from './demo-pairs.ts';
import { helpsteerReply, type JudgeServer, shownAnswers, startJudgeServer } from './judge-server.ts';
import { type CliResult, root, runShell, temporaryFolder } from './run-cli.ts';

const fixtures = join(root, 'fixtures');
const photo = join(fixtures, 'images/photo.jpg');

const MODELS = {
  llava: 'demo/tiny-llava',
  'llava-1.5-7b-hf': 'demo/tiny-llava',
  smolvlm: 'families/smolvlm/ckpt',
  'Qwen2.5-VL-3B-Instruct': 'families/qwen2_5_vl/ckpt',
  'Qwen2.5-VL-7B-Instruct': 'families/qwen2_5_vl/ckpt',
};
/** Where each name of a picture is expected. */
const PICTURES = {
  data: ['1.jpg', 'textvqa/1.jpg', 'ocr_vqa/1.jpg', 'coco/1.jpg'],
  vg: ['1.jpg'],
  photos: ['kitchen.jpg'],
  val2014: ['COCO_val2014_000000000001.jpg', 'COCO_val2014_000000000002.jpg'],
  images: [...Array.from({ length: 12 }, (_, k) => `v1_${k}.png`), 'SEED-Bench-image/0_7'],
};
const COPIES = {
  'photo.jpg': 'images/photo.jpg',
  'mm-vet.json': 'eval/mmvet/mm-vet.json',
  'llava_gpt-4-grade-3runs.json': 'eval/mmvet/model_gpt-4-0613-grade-3runs.json',
};

/** A folder with all of them. */
export function standIns(): string {
  const folder = temporaryFolder('stand-ins');
  const at = (name: string) => join(folder, name);
  const rows = (name: string, ...values: unknown[]) =>
    writeFileSync(at(name), values.map((row) => `${JSON.stringify(row)}\n`).join(''));
  for (const [name, path] of Object.entries(MODELS)) symlinkSync(join(fixtures, path), at(name));
  symlinkSync(join(fixtures, 'demo'), at('demo'));
  for (const name of ['examples', 'Makefile']) symlinkSync(join(root, name), at(name));
  for (const [name, path] of Object.entries(COPIES)) copyFileSync(join(fixtures, path), at(name));
  for (const [name, files] of Object.entries(PICTURES))
    for (const file of files) {
      mkdirSync(join(at(name), file, '..'), { recursive: true });
      copyFileSync(photo, join(at(name), file));
    }
  mkdirSync(at('runs'));
  writeQuestions(rows);
  writeRecords(rows);
  writeResults(rows);
  return folder;
}

type Rows = (name: string, ...values: unknown[]) => void;

function writeQuestions(rows: Rows): void {
  const dialogue = [
    { from: 'human', value: '<image>\nWhat?' },
    { from: 'gpt', value: 'A cat.' },
    { from: 'human', value: 'Where is it?' },
    { from: 'gpt', value: 'On the sofa.' },
  ];
  const mix = ['textvqa', 'ocr_vqa', 'coco'].map((id) => ({ id, image: `${id}/1.jpg`, conversations: dialogue }));
  rows('mix665k.json', mix);
  rows('questions.json', [{ id: '1', image: 'kitchen.jpg', conversations: dialogue }]);
  rows('lrv.json', [{ image_id: '1', question: 'What?', answer: 'A cat.', task: 'existence' }]);
  for (const split of ['random', 'popular', 'adversarial']) {
    const asked = ['yes', 'no'].map((label, k) => {
      const image = `COCO_val2014_00000000000${k + 1}.jpg`;
      return { question_id: k + 1, image, text: 'Is there a cat in the image?', label };
    });
    rows(`coco_pope_${split}.json`, ...asked);
  }
  const choices = { choice_a: 'a cat', choice_b: 'a dog', choice_c: 'a cup', choice_d: 'a car' };
  const shown = { ...choices, answer: 'A', data_id: '0_7', data_type: 'image', question_type_id: 1 };
  const questions = ['100', '101'].map((question_id) => ({ ...shown, question_id, question: 'What is it?' }));
  rows('SEED-Bench.json', { questions, question_type: { 'Scene Understanding': 1 } });
  for (const name of ['seva', 'llava'])
    rows(`${name}.jsonl`, ...questions.map(({ question_id }) => ({ question_id, prompt: '', text: 'A' })));
}

function writeRecords(rows: Rows): void {
  const asked = [
    { id: 'a', prompt: 'What?', images: ['data/1.jpg'] },
    { id: 'b', prompt: 'Who?', images: ['vg/1.jpg'] },
  ];
  for (const name of ['prompts', 'questions', 'q', 'views', 'sampled.0']) rows(`${name}.ndjson`, ...asked);
  for (const name of ['sampled', 'annotated']) rows(`${name}.ndjson`, ...readRecords(`records/${name}.ndjson`));
  rows(
    'four.ndjson',
    ...readRecords('records/annotated.ndjson')
      .slice(0, 2)
      .map(({ annotations: _, ...row }) => row),
  );
  rows('pairs.ndjson', ...demoPairs(8));
  rows('text-only.ndjson', ...demoPairs(8).map(({ images: _, ...row }, k) => ({ ...row, id: `text${k}` })));
  rows('best.ndjson', ...demoPrompts(4).map((row) => ({ ...row, response: 'A cat.' })));
  for (const name of ['seva', 'judged'])
    rows(`${name}.ndjson`, ...[1, 2, 3].map((k) => ({ id: `${name}${k}`, prompt: 'q', chosen: 'a', rejected: 'b' })));
  rows('augmented.ndjson', { ...asked[0], views: [{ name: 'hflip', ops: [{ op: 'hflip' }], seed: 0 }] });
}

const readRecords = (path: string): Record<string, unknown>[] =>
  readFileSync(join(fixtures, path), 'utf8')
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line));

function writeResults(rows: Rows): void {
  rows('seva.metrics.ndjson', { step: 1, loss: 0.69, 'rewards/margins': 0 }, { step: 2, loss: 0.6 });
  for (const [k, run] of ['a', 'b'].entries()) {
    rows(`runs/${run}.metrics.ndjson`, { step: 1, loss: 0.69 - k / 10 }, { step: 2, loss: 0.6 - k / 10 });
    const settings = { beta: 0.1 + k, output: `runs/${run}` };
    rows(`runs/${run}.summary.ndjson`, { summary: 'train', settings, seconds: 2, steps: 2, pairs: 4 });
  }
  const scores = { benchmark: 'pope', split: 'all', n: 10, score: 86.1 };
  rows('rows.ndjson', ...[100, 500].map((step) => ({ ...scores, score: 80 + step / 100, params: { step } })));
  for (const name of ['scores', 'before.scores', 'after.scores']) rows(`${name}.ndjson`, scores);
}

/** What `answers.ndjson` is differs between the commands that read one. */
export function writeAnswers(folder: string, line: string): void {
  const sft = { id: 'a', prompt: 'What?', images: ['data/1.jpg'], response: 'A cat.' };
  const asked = { id: 'a', prompt: 'What?', reference: 'A cat.', responses: [{ text: 'A dog.', view: 'original' }] };
  const rows = line.includes('eval pope') ? popeAnswers(folder) : [line.includes('annotate') ? asked : sft];
  writeFileSync(join(folder, 'answers.ndjson'), rows.map((row) => `${JSON.stringify(row)}\n`).join(''));
}

function popeAnswers(folder: string): object[] {
  return ['random', 'popular', 'adversarial'].flatMap((split) => {
    const labels = readFileSync(join(folder, `coco_pope_${split}.json`), 'utf8')
      .trimEnd()
      .split('\n');
    return labels.map((text) => {
      const { question_id, text: prompt, label } = JSON.parse(text);
      const responses = [{ text: label === 'yes' ? 'Yes.' : 'No.' }];
      const meta = { question_id: String(question_id), split };
      return { id: `pope/${split}/${question_id}`, prompt, meta, responses };
    });
  });
}

/** A server in the place of every judge and endpoint that a line names. */
export function startStandInServer(): Promise<JudgeServer> {
  return startJudgeServer(({ prompt }) => {
    if (shownAnswers(prompt).length === 0) return { text: '0.5' };
    return { text: helpsteerReply(prompt, (_, place) => (place === 0 ? 4 : 1)) };
  });
}

/** An adapter of the bundled model, under the names that examples use. */
async function trainAdapter(folder: string, name: string): Promise<void> {
  const line = `vpref train pairs.ndjson --model llava --lora-r 2 --max-steps 1 --batch-size 2 -o ${name} -q`;
  const { code, stderr } = await runShell(line, { cwd: folder });
  if (code !== 0) throw new Error(stderr);
}

// A cluster's task of one, the commands of a cluster, and make that prints what it would run.
const SHELL = `srun() { while [[ $1 == --* ]]; do shift; done; "$@"; }; make() { command make -n "$@"; }; exec() { "$@"; };`;
const ENVIRONMENT = {
  SLURM_ARRAY_TASK_ID: '0',
  SLURM_ARRAY_TASK_COUNT: '1',
  GEMINI_API_KEY: 'none',
  OPENAI_API_KEY: 'none',
};

/** Runs lines as they stand among the stand-ins, with the server in the place of the network. */
export async function runAmongStandIns(lines: string, server: JudgeServer): Promise<CliResult> {
  const folder = standIns();
  writeAnswers(folder, lines);
  const adapter = /--adapter (\S+)/.exec(lines)?.[1];
  if (adapter !== undefined && !lines.includes(`-o ${adapter} `)) await trainAdapter(folder, adapter);
  for (const [, name] of lines.matchAll(/(?:-o|>) (\S+\.ndjson)/g))
    rmSync(join(folder, name!.replace('$SLURM_ARRAY_TASK_ID', '0')), { force: true });
  const local = lines
    .replace('--limit 16000', '--limit 10')
    .replace(
      /--judge (gemini|openai):[^\s]+(?![^\n|]*--base-url)(?= |$)/gm,
      (judge, api) => `${judge} --base-url ${server.base(api)}`,
    )
    .replaceAll('http://localhost:8000/v1', server.base('openai'));
  const env = { ...ENVIRONMENT, XDG_CACHE_HOME: join(folder, '.cache'), TMPDIR: join(folder, 'tmp'), MODEL: 'llava' };
  mkdirSync(env.TMPDIR);
  return runShell(`set -e; ${SHELL}\n${local}`, { cwd: folder, env });
}
