// SPDX-License-Identifier: Apache-2.0
// Held-out evaluation on the demo's judged pairs, over seeds: images split in two, trained on one part until the other stops improving, best state kept.
//   node --import tsx scripts/checks/held-out-seeds.ts [--out DIR] [--seeds 0,1,2] [--pairs 192] [--held-out 96] [--epochs 12] [--lr 1e-3]
// Prints a table of the curves and the end of each run; DIR keeps SEED.metrics.ndjson, for `vpref report`. Fails if a run has not kept its best state.
import { mkdirSync, mkdtempSync, readFileSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { demoModel, readRows, toNdjson } from '../../test/support/demo-pairs.ts';
import { root, runCli } from '../../test/support/run-cli.ts';

const { values: flags } = parseArgs({
  options: {
    out: { type: 'string' },
    seeds: { type: 'string', default: '0,1,2' },
    pairs: { type: 'string', default: '192' },
    'held-out': { type: 'string', default: '96' },
    epochs: { type: 'string', default: '12' },
    lr: { type: 'string', default: '1e-3' },
  },
});
const out = flags.out ?? mkdtempSync(join(tmpdir(), 'vpref-held-out-'));
mkdirSync(out, { recursive: true });
const path = (name: string) => join(out, name);

interface Candidate {
  text: string;
  helpfulness: number;
  correctness: number;
  coherence: number;
}

const folder = join(root, 'fixtures/demo/data/preference');
const sum = ({ helpfulness, correctness, coherence }: Candidate) => helpfulness + correctness + coherence;

/** As `pair --rule score --margin 2`, except that it takes the first of several candidates for rejected. */
function pairOf(row: Record<string, unknown>): Record<string, unknown>[] {
  const candidates = row.candidates as Candidate[];
  const chosen = candidates.reduce((best, one) => (sum(one) > sum(best) ? one : best));
  const rejected = candidates.find((one) => sum(one) <= sum(chosen) - 2);
  const { question_id: id, image, question: prompt } = row;
  const images = [join(folder, 'images', String(image))];
  return rejected === undefined
    ? []
    : [{ id: String(id), group: String(image), images, prompt, chosen: chosen.text, rejected: rejected.text }];
}

// Split by image, so no image is on both sides: every third one is held out.
const all = readRows(readFileSync(join(folder, 'annotated.jsonl'), 'utf8')).flatMap(pairOf);
const pictures = [...new Set(all.map(({ group }) => group))];
const isHeldOut = ({ group }: Record<string, unknown>) => pictures.indexOf(group) % 3 === 2;
const heldOut = all.filter(isHeldOut).slice(0, Number(flags['held-out']));
const trained = all.filter((pair) => !isHeldOut(pair)).slice(0, Number(flags.pairs));
for (const [name, rows] of [
  ['pairs', trained],
  ['held-out', heldOut],
] as const) {
  writeFileSync(path(`${name}.bare.ndjson`), toNdjson(rows));
  const bare = path(`${name}.bare.ndjson`);
  const { code, stderr } = await runCli([
    'precompute-ref',
    '--model',
    demoModel,
    '-q',
    bare,
    '-o',
    path(`${name}.ndjson`),
  ]);
  if (code !== 0) throw new Error(stderr);
}
console.log(
  `${trained.length} pairs of ${new Set(trained.map(({ group }) => group)).size} pictures, ${heldOut.length} held out of others\n`,
);
console.log('| seed | step | loss | accuracy | held-out loss | held-out accuracy | held-out margin | |');
console.log('|---|---|---|---|---|---|---|---|');

for (const seed of flags.seeds.split(',')) {
  const dir = path(`run-${seed}`);
  const settings = [
    '--lora-r',
    '16',
    '--lr',
    flags.lr,
    '--batch-size',
    '16',
    '--epochs',
    flags.epochs,
    '--seed',
    seed,
    '-q',
  ];
  const watched = [
    '--eval',
    path('held-out.ndjson'),
    '--eval-every',
    '6',
    '--early-stop',
    '3',
    '--keep-best',
    'eval/loss',
  ];
  const { code, stdout, stderr } = await runCli([
    'train',
    path('pairs.ndjson'),
    '--model',
    demoModel,
    '-o',
    dir,
    ...settings,
    ...watched,
  ]);
  if (code !== 0) throw new Error(stderr);
  writeFileSync(path(`${seed}.metrics.ndjson`), stdout);
  const rows = readRows(stdout) as Record<string, number>[];
  const end = rows.findLast((row) => 'stop_reason' in row)! as unknown as {
    stop_reason: string;
    best_step: number;
    kept_step: number;
    step: number;
  };
  let since: Record<string, number>[] = [];
  for (const row of rows) {
    if ('loss' in row) since.push(row);
    if (!('eval/loss' in row)) continue;
    const mean = (name: string) =>
      since.length === 0 ? '' : (since.reduce((total, one) => total + one[name]!, 0) / since.length).toFixed(3);
    const eval_ = (name: string) => row[`eval/${name}`]!.toFixed(3);
    const mark = row.step === end.best_step ? 'best, kept' : row.step === end.step ? end.stop_reason : '';
    console.log(
      `| ${seed} | ${row.step} | ${mean('loss')} | ${mean('rewards/accuracies')} | ${eval_('loss')} | ${eval_('rewards/accuracies')} | ${eval_('rewards/margins')} | ${mark} |`,
    );
    since = [];
  }
  const kept = readFileSync(join(dir, 'adapter_model.safetensors'));
  const best = readFileSync(join(dir, `best-${String(end.best_step).padStart(6, '0')}`, 'adapter_model.safetensors'));
  if (end.kept_step !== end.best_step || !kept.equals(best))
    throw new Error(`seed ${seed}: the best state was not kept`);
}
