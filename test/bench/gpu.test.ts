// SPDX-License-Identifier: Apache-2.0
// bench/gpu.sh on a pretended GPU machine: programs of a few lines stand for the compiler, the GPU and what is built.
// Covers bench/gpu.sh bench/gpu_summary.py bench/gpu_profile.py
import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import { chmodSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
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
  // Two kernels in ncu's CSV; asked for one kernel in full, its page. It is stopped before the program ends.
  ncu: `case " $* " in
*" --csv "*) echo "==PROF== Connected"; echo '"ID","Kernel Name","dram__bytes_read.sum","dram__bytes_write.sum","gpu__time_duration.sum"'
  echo '"","","byte","Kbyte","ns"'; echo '"0","attention_tile","1,000","1","2,000"'; echo '"1","rows","0","0","500"'; echo '"2","attention_tile","0","0","500"' ;;
*) echo "ncu $*" ;;
esac; exit 1`,
  cmake: 'echo "cmake $*" >>"$CALLS"',
  'compute-sanitizer':
    'while [ "${1#-}" != "$1" ]; do [ "$1" != --tool ] || shift; [ "$1" != --error-exitcode ] || shift; shift; done; "$@"',
};
const built: Record<string, string> = {
  // The second of the processes among which the tests are divided dies in a test; the others go on.
  ops_tests: `echo "[  PASSED  ] 3 tests."; echo shard >>"$CALLS.shards"`,
  device_tests: `echo "[ RUN      ] DeviceEngine.A$GTEST_SHARD_INDEX"
[ "$GTEST_SHARD_INDEX" != 1 ] || kill -SEGV $$
echo "[       OK ] DeviceEngine.A$GTEST_SHARD_INDEX (3 ms)"; echo "[ RUN      ] DeviceEngine.B$GTEST_SHARD_INDEX"
[ "$GTEST_SHARD_INDEX" = 2 ] || { echo "[       OK ] DeviceEngine.B$GTEST_SHARD_INDEX (3 ms)"; exit 0; }
echo "[  FAILED  ] DeviceEngine.B2, where GetParam() = 4 (5 ms)"; exit 1`,
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
      SHARDS: '3',
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
  assert.equal(phase('device')?.rc, 123);
  assert.equal(phase('engine')?.rc, 1);
  assert.equal(phase('rates')?.rc, 139);
  assert.equal(phase('large')?.rc, 124);
  assert.match(String(phase('large')?.note), /^ended after \d+ s/);
  assert.match(text, /device failed \(123\):\n\[ {2}FAILED {2}\] DeviceEngine.B2/);
  assert.deepEqual(text.match(/did not end: .*/g), ['did not end: DeviceEngine.A1']);
  assert.ok(readFileSync(join(folder, 'calls.shards'), 'utf8').split('\n').length > 3, 'three processes at least');
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

test('without a build nothing else is tried', () => {
  const none = join(folder, 'none');
  mkdirSync(none, { recursive: true });
  const { code, text, rows } = run(['build', 'rates', 'baseline'], { BUILD: none });
  assert.equal(code, 1);
  assert.match(text, /nothing was built/);
  assert.deepEqual(
    rows.filter((row) => row.phase).map((row) => row.phase),
    ['build'],
  );
});

test('the profile sums the kernels of a task and measures the slowest in full', (t) => {
  if (spawnSync('python3', ['--version']).status !== 0) return t.skip('no Python');
  const { text, rows, phase } = run(['profile'], {});
  assert.equal(phase('profile')?.rc, 0, text);
  const dpo = rows.filter((row) => row.profile === 'dpo');
  assert.deepEqual(
    dpo.map((row) => [row.kernel, row.launches, row.ms, row.share, row.gbytes_per_s]),
    [
      ['attention_tile', 2, 0.0025, 0.833, 0.8],
      ['rows', 1, 0.0005, 0.167, 0],
    ],
  );
  const full = readFileSync(join(folder, 'out', 'profile-dpo.txt'), 'utf8');
  assert.match(
    full,
    /== attention_tile\nncu .*--kernel-name attention_tile --launch-skip-before-match [1-9]\d* --launch-count 1 .*bench_train .*7b-profile .*--device cuda --pairs 8/,
  );
  assert.match(text, /profile of decode1 .* 3 launches\n {2}attention_tile/);
  assert.ok(readdirSync(join(folder, 'out')).length <= 8, 'as many files as a borrowed machine gives back');
});

test('other micro-batches are a phase of their own, which only runs when asked for', () => {
  const { rows, phase } = run(['batches'], {});
  assert.equal(phase('batches')?.rc, 0);
  assert.equal(rows.filter((row) => row.task === 'dpo').length, 2);
  assert.equal(run(['train'], {}).phase('batches'), undefined);
});
