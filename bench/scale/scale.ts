// SPDX-License-Identifier: Apache-2.0
// Training by two ranks and by one: traffic compared with the trained parameters' bytes, time compared with compute + all-reduce without overlap.
//   node --import tsx bench/scale/scale.ts BUILD_DIR     (by hand; -DVPREF_BENCH=ON, an MPI, two free cores; one thread per rank)
// Every rank computes as many pairs (two) as the single process (weak scaling), so the difference is communication.
import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { report } from '../support/run.ts';

interface Row {
  trained: number;
  seconds_per_step: number;
  wait_seconds: number;
  bare_all_reduce_seconds: number;
  calls_per_step: number;
  payload_bytes_per_step: number;
  sent_bytes_per_step: number;
}

const build = process.argv[2];
if (build === undefined) throw new Error('usage: scale.ts BUILD_DIR');
const folder = mkdtempSync(join(tmpdir(), 'vpref-scale-'));
const env = {
  ...process.env,
  OMP_NUM_THREADS: '1',
  OMP_WAIT_POLICY: 'passive',
  OMPI_ALLOW_RUN_AS_ROOT: '1',
  OMPI_ALLOW_RUN_AS_ROOT_CONFIRM: '1',
};
const run = (ranks: number, ...flags: string[]): Row => {
  const program = [
    join(build, 'bench_scale'),
    folder,
    '--ranks',
    String(ranks),
    '--pairs',
    '2',
    '--steps',
    '2',
    ...flags,
  ];
  const argv = ranks === 1 ? program : ['mpirun', '-n', String(ranks), '--oversubscribe', ...program];
  return JSON.parse(execFileSync(argv[0]!, argv.slice(1), { env, encoding: 'utf8' }));
};

try {
  execFileSync(join(build, 'bench_engine'), ['make', folder], { env, stdio: 'ignore' });
  const ranks = 2;
  for (const loraR of ['64', '256']) {
    // Alternating, the best of two, because the machine is shared.
    const rounds = [0, 1].map(() => ({
      one: run(1, '--lora-r', loraR),
      whole: run(ranks, '--lora-r', loraR),
      split: run(ranks, '--lora-r', loraR, '--zero', '1'),
    }));
    const best = (key: 'one' | 'whole' | 'split') =>
      rounds.map((round) => round[key]).sort((a, b) => a.seconds_per_step - b.seconds_per_step)[0]!;
    const one = best('one');
    for (const [zero, row] of [
      [0, best('whole')],
      [1, best('split')],
    ] as const) {
      // Gradients are summed in f32. An all-reduce, or with ZeRO-1 a reduce-scatter and an all-gather of half its traffic each.
      const payload = 4 * row.trained * (zero === 1 ? 2 : 1);
      const sent = (2 * (ranks - 1) * 4 * row.trained) / ranks;
      // Without overlap, and with full overlap (compute only).
      const slowest = one.seconds_per_step + row.bare_all_reduce_seconds;
      report('scale', {
        ranks,
        zero,
        lora_r: Number(loraR),
        trained: row.trained,
        payload_bytes: row.payload_bytes_per_step,
        payload_bytes_model: payload,
        sent_bytes: row.sent_bytes_per_step,
        sent_bytes_model: sent,
        calls: row.calls_per_step,
        seconds_one_rank: one.seconds_per_step,
        seconds_two_ranks: row.seconds_per_step,
        seconds_model_nothing_hidden: slowest,
        bare_all_reduce_seconds: row.bare_all_reduce_seconds,
        wait_seconds: row.wait_seconds,
        efficiency: one.seconds_per_step / row.seconds_per_step,
        // The same count for LLaVA-1.5-7B at r = 1024: 2,559 M trained parameters.
        payload_gigabytes_7b_r1024: (row.payload_bytes_per_step / row.trained) * 2.559,
      });
    }
  }
} finally {
  rmSync(folder, { recursive: true, force: true });
}
