// SPDX-License-Identifier: Apache-2.0
// bench/gpu.sh on a pretended GPU machine: programs of a few lines stand for the compiler, the GPU and what is built.
// Covers bench/gpu.sh bench/gpu_summary.py
import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import { chmodSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('../..', import.meta.url));
const folder = mkdtempSync(join(tmpdir(), 'vpref-gpu-script-'));
after(() => rmSync(folder, { recursive: true }));

const train =
  '{"engine":"vpref","task":"dpo","device":"cuda","shape":"7b","seconds_per_pair":0.1,"reference_seconds_per_pair":0.03,"floor_flops":4e13,"gpu_mebibytes":90112,"plan":"level 0"}';
const machine: Record<string, string> = {
  'nvidia-smi': 'case $* in *compute_cap*) echo 9.0 ;; *) echo "Pretended H200, 580, 143771 MiB" ;; esac',
  nvcc: 'echo release 13.0',
  cmake: 'echo "cmake $*" >>"$CALLS"',
  'compute-sanitizer':
    'while [ "${1#-}" != "$1" ]; do [ "$1" != --tool ] || shift; [ "$1" != --error-exitcode ] || shift; shift; done; "$@"',
};
const built: Record<string, string> = {
  ops_tests: 'echo "[  PASSED  ] 3 tests."',
  device_tests: 'echo "[  FAILED  ] DeviceEngine.LogpsEqualTheGoldens"; exit 1',
  ops_bench: `echo '{"peak_gflops_bf16":800000,"copy_gbytes_per_s":4000}'; echo '{"op":"linear","shape":"1x1","ms":0.5,"share_of_gemm_peak":0.9}'; printf '{"op":"half a row'; exit 139`,
  bench_engine: `[ "$1" != make ] || exit 0
for task in prefill decode64; do echo '{"engine":"vpref","task":"'$task'","device":"cuda","shape":"7b","seconds":0.02,"floor_bytes":4e10}'; done
echo '{"engine":"vpref","task":"score","device":"cuda","shape":"7b","error":"out of \\"memory\\""}'; exit 1`,
  bench_train: `case $* in *13b*) sleep 100 ;; *) echo '${train}' ;; esac`,
};

function place(into: string, programs: Record<string, string>): string {
  mkdirSync(into, { recursive: true });
  for (const [name, body] of Object.entries(programs)) {
    writeFileSync(join(into, name), `#!/bin/bash\n${body}\n`);
    chmodSync(join(into, name), 0o755);
  }
  return into;
}

/** The script's exit code, what it printed and its rows. */
function run(phases: string[], environment: Record<string, string>) {
  const out = join(folder, 'out');
  const result = spawnSync('bash', [join(root, 'bench/gpu.sh'), ...phases], {
    encoding: 'utf8',
    env: {
      ...process.env,
      PATH: `${place(join(folder, 'bin'), machine)}:${process.env.PATH}`,
      OUT: out,
      BUILD: place(join(folder, 'build'), built),
      CALLS: join(folder, 'calls'),
      ...environment,
    },
  });
  const rows = readFileSync(join(out, 'gpu.ndjson'), 'utf8')
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as Record<string, unknown>);
  const phase = (name: string) => rows.find((row) => row.phase === name);
  return { code: result.status, text: result.stdout + result.stderr, rows, phase };
}

test('a phase that fails, times out or dies is reported, and does not stop the others', () => {
  // 12 seconds in all: the last, which would take 100, is ended.
  const { code, text, rows, phase } = run(
    ['build', 'ops', 'device', 'sanitizer', 'racecheck', 'rates', 'engine', 'train', 'large'],
    { LIMIT: '12' },
  );
  assert.equal(code, 1);
  assert.match(
    readFileSync(join(folder, 'calls'), 'utf8'),
    /-DCMAKE_CUDA_ARCHITECTURES=90a-real[\s\S]*--target .*ops_bench/,
  );
  for (const name of ['build', 'ops', 'sanitizer', 'racecheck', 'train'])
    assert.equal(phase(name)?.rc, 0, `${name}\n${text}`);
  assert.equal(phase('device')?.rc, 1);
  assert.equal(phase('engine')?.rc, 1);
  assert.equal(phase('rates')?.rc, 139);
  assert.equal(phase('large')?.rc, 124);
  assert.match(String(phase('large')?.note), /^ended after \d+ s/);
  assert.match(text, /device failed \(1\):\n\[ {2}FAILED {2}\] DeviceEngine/);
  assert.ok(rows.some((row) => row.op === 'linear') && rows.some((row) => row.task === 'dpo'));
  assert.match(String(rows[0]?.kernels_sha256), /^[0-9a-f]{16}$/);
  if (!/SeVa on one card/.test(text))
    assert.throws(() => execFileSync('python3', ['--version'], { stdio: 'ignore' }), text);
  else {
    assert.match(text, /measured: bf16 product 800 TFLOP\/s, copy 4000 GB\/s/);
    assert.match(text, /7b decode64 +0\.02000 +0\.50/);
    assert.match(text, /7b score +vpref failed: out of "memory"/);
    assert.match(text, /100 s per 1000 pairs, reference 30 s of it, 400 TFLOP\/s \(40 % of 989\); level 0/);
    // 2 x 16000 x (0.02 + 60 x 0.02 / 64) s, and 16000 x 0.1 s.
    assert.match(text, /sampling 21 min, training with reference 27 min, together 47 min/);
  }
});

test('time is reserved for the baseline, and a phase without time is reported', () => {
  assert.equal(run(['rates'], { LIMIT: '9' }).phase('rates')?.note, 'no time left');
  const kept = run(['rates', 'baseline'], { LIMIT: '12', BASELINE: '10' });
  assert.equal(kept.phase('rates')?.note, 'no time left');
  assert.notEqual(kept.phase('baseline')?.note, 'no time left');
});
