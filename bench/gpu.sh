#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Builds the CUDA engine with CMake alone, tests it on the GPU, compares it with transformers + peft, and prints a short table.
#   bench/gpu.sh [PHASE...]     phases: build ops device sanitizer racecheck rates engine train large qwen nf4 baseline (all by default), profile and batches
# For a machine with CMake, nvcc, g++ and Python with torch and transformers (the baseline) but without Node and network. Ends within LIMIT seconds (570):
# every phase has its own limit, a phase that fails or times out does not stop the others (without a build nothing is left to do), and BASELINE seconds
# (170) are reserved for the baseline. `profile` needs Nsight Compute and what an earlier call has built.
# Rows and logs go to $OUT (or build/gpu). GoogleTest: the installed one, else its sources in .gtest or /usr/src/googletest; Python packages that
# the machine lacks (peft) as wheels in .whl. SHAPE and LARGER (7b, 13b) name the models. Device settings are not changed.
set -uo pipefail
cd "$(dirname "$0")/.."
out=${OUT:-build/gpu} limit=${LIMIT:-570} build=${BUILD:-build/native/gpu} shape=${SHAPE:-7b} larger=${LARGER:-13b} qwen=${QWEN:-qwen2.5-vl-7b}
mkdir -p "$out" "$build"
rows=$out/gpu.ndjson log=$out/gpu.log
: >"$rows" >"$log"
wanted=" ${*:-build ops device sanitizer racecheck rates engine train large qwen nf4 baseline} "
kept=0
[[ $wanted != *" baseline "* ]] || kept=${BASELINE:-170}
cores=$(nproc) python=$(command -v python3 || true)
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
models=$scratch/models
PATH=$PATH:/usr/local/cuda/bin

left() { echo $((limit - SECONDS)); }

# phase NAME LIMIT NOTE COMMAND...: JSON lines of its output become rows; everything goes to the log.
phase() {
  local name=$1 most=$2 note=$3 begin=$SECONDS rc
  shift 3
  [[ $wanted == *" $name "* ]] || return 0
  local seconds=$(($(left) - 5 - kept < most ? $(left) - 5 - kept : most))
  if [ $seconds -lt 5 ]; then
    echo "{\"phase\":\"$name\",\"rc\":124,\"seconds\":0,\"note\":\"no time left\"}" >>"$rows"
    return 0
  fi
  timeout -k 5 "$seconds" "$@" >"$out/.$name" 2>&1
  rc=$?
  # Fail if all tests were skipped.
  if [ $rc -eq 0 ] && grep -qF '[  PASSED  ] 0 tests' "$out/.$name" && ! grep -q '\[  PASSED  \] [1-9]' "$out/.$name"; then rc=77 note="nothing was run"; fi
  [ $rc -ne 124 ] && [ $rc -ne 137 ] || note="ended after $seconds s; $note"
  { echo "== $name (from $begin s, at most $seconds s): $*" && cat "$out/.$name"; } >>"$log"
  {
    grep -aE '^\{.*\}$' "$out/.$name"
    echo "{\"phase\":\"$name\",\"rc\":$rc,\"seconds\":$((SECONDS - begin)),\"note\":\"$note\"}"
  } >>"$rows"
  [ $rc -eq 0 ] || { echo "$name failed ($rc):"; grep -aE 'error|Error|FAILED|Failure|Race|hazard' "$out/.$name" | cut -c1-300 | head -12; unfinished "$out/.$name" | head -4; tail -3 "$out/.$name" | cut -c1-300; }
  rm -f "$out/.$name"
}

# The tests of a log that began and did not end: they hung or died.
unfinished() {
  awk '/^\[ RUN/ { sub(/^\[[^]]*\] /, ""); begun[$0] = 1 }
    /^\[ *(OK|FAILED|SKIPPED) *\]/ { sub(/^\[[^]]*\] /, ""); sub(/[ ,].*/, ""); delete begun[$0] }
    END { for (name in begun) print "did not end: " name }' "$1"
}

# shards COUNT AT_ONCE COMMAND...: a test program in so many processes (or SHARDS): a process that faulted can use the GPU no more, and one test must not
# hide the others.
shards() {
  local count=${SHARDS:-$1} at_once=$2
  shift 2
  seq 0 $((count - 1)) | GTEST_TOTAL_SHARDS=$count xargs -P "$at_once" -I{} bash -c 'GTEST_SHARD_INDEX={} "$@" || exit 1' bash "$@"
}

build_all() {
  local generator=() gtest=() tests=ON arch go_on=-k
  command -v ninja >/dev/null && generator=(-G Ninja) go_on=-k0
  for dir in "$PWD/.gtest" /usr/src/googletest; do [ -f "$dir/CMakeLists.txt" ] && gtest=("-DVPREF_GTEST=$dir"); done
  # Without GoogleTest the benches still run.
  if [ ${#gtest[@]} -eq 0 ] && ! echo '#include <gtest/gtest.h>' | "${CXX:-c++}" -x c++ -E - >/dev/null 2>&1; then
    tests=OFF
    echo "error: GoogleTest is missing, no test is built: cp -r /usr/src/googletest .gtest"
  fi
  # Only this machine's architecture: half the compile time.
  arch=$(nvidia-smi --query-gpu=compute_cap --format=csv,noheader 2>/dev/null | head -1 | tr -d .)
  [ "$arch" = 90 ] && arch=90a
  cmake -S native -B "$build" "${generator[@]}" "${gtest[@]}" -DVPREF_CUDA=ON -DVPREF_MPI=OFF -DVPREF_BENCH=ON -DVPREF_TESTS=$tests ${arch:+-DCMAKE_CUDA_ARCHITECTURES=$arch-real} || return
  local targets=(bench_engine bench_train ops_bench)
  [ $tests = OFF ] || targets=(ops_tests device_tests "${targets[@]}")
  # A compile error affects only its own program.
  cmake --build "$build" --parallel "$cores" --target "${targets[@]}" -- $go_on && [ $tests = ON ]
}
export -f build_all shards
export build cores

{
  command -v nvidia-smi >/dev/null && nvidia-smi --query-gpu=name,driver_version,memory.total,clocks.sm,temperature.gpu --format=csv,noheader
  nvcc --version | tail -2
  cmake --version | head -1
  "$python" -c 'import torch; print("torch", torch.__version__)' 2>&1 | tail -1
} 2>&1 | tee -a "$log"
kernels=$(cat native/backend/cuda/* | sha256sum | cut -c1-16)
gpu=$(nvidia-smi --query-gpu=name --format=csv,noheader 2>/dev/null | head -1)
echo "{\"machine\":\"$(uname -m), $cores cores\",\"gpu\":\"$gpu\",\"kernels_sha256\":\"$kernels\",\"commit\":\"$(git rev-parse --short HEAD 2>/dev/null || echo unknown)\"}" >>"$rows"

phase build 200 "" bash -c build_all
if ! [ -x "$build/bench_engine" ] && ! [ -x "$build/ops_bench" ]; then
  echo "nothing was built; log: $log"
  exit 1
fi
for of in "engine $shape" "train $shape" "nf4 $shape" "batches $shape" "large $larger" "qwen $qwen" "profile 7b-profile"; do
  name=${of#* }
  if [[ $wanted == *" ${of% *} "* ]] && ! [ -d "$models/$name" ]; then "$build/bench_engine" make "$models/$name" --shape "$name" >>"$log" 2>&1; fi
done

sanitizer=
for at in compute-sanitizer /usr/local/cuda/bin/compute-sanitizer /usr/local/cuda/compute-sanitizer/compute-sanitizer /opt/nvidia/*/compute-sanitizer/compute-sanitizer; do
  if [ -z "$sanitizer" ]; then sanitizer=$(command -v "$at"); fi
done

# Correctness tests need no idle machine, so these run concurrently.
tests() {
  phase ops 80 "op table on device cuda" bash -c 'shards 48 6 "$@"' bash "$build/ops_tests" --gtest_filter='*cuda*' &
  phase device 80 "whole model against the CPU and the goldens" bash -c 'shards 24 4 "$@"' bash "$build/device_tests" &
  if [ -n "$sanitizer" ]; then
    phase sanitizer 75 "memcheck" bash -c 'shards 24 5 "$@"' bash "$sanitizer" --error-exitcode 9 "$build/ops_tests" --gtest_filter='*cuda*' &
    phase racecheck 75 "races in shared memory" bash -c 'shards 24 5 "$@"' bash "$sanitizer" --tool racecheck --error-exitcode 9 "$build/ops_tests" \
      --gtest_filter='*Attention*/cuda_bf16*:*Norm*/cuda_bf16*:*Rows*/cuda_bf16*:*LogSoftmax*/cuda_f32*:*SampleToken*/cuda_f32*:*PackedLinear*/cuda_bf16*:*Gemm*/cuda_bf16*' &
  else
    phase sanitizer 5 "compute-sanitizer is missing" false
  fi
  wait
  # A sanitizer's child may outlive its phase; it would disturb the rates.
  for pid in $(pgrep -f '(ops|device)_tests'); do
    if grep -qz "^GPU_RUN=$GPU_RUN\$" "/proc/$pid/environ" 2>/dev/null; then kill -9 "$pid"; fi
  done
}
export GPU_RUN=$$
tests
phase rates 70 "ops beside measured product and copy rates" "$build/ops_bench" --device cuda
phase engine 95 "sampling and scoring, $shape" "$build/bench_engine" prefill1,prefill,decode1,decode64,group64,score "$models/$shape" "$cores" 2 --shape "$shape" --device cuda \
  --plain decode1,decode64
phase train 70 "DPO with LoRA, $shape" "$build/bench_train" "$models/$shape" "$cores" 2 --shape "$shape" --device cuda
phase large 60 "DPO with LoRA, $larger fits" "$build/bench_train" "$models/$larger" "$cores" 1 --shape "$larger" --device cuda --pairs 8
on_qwen() {
  "$build/bench_engine" prefill,decode1,decode64 "$models/$qwen" "$cores" 1 --shape "$qwen" --device cuda
  local rc=$?
  "$build/bench_train" "$models/$qwen" "$cores" 1 --shape "$qwen" --device cuda && return $rc
}
# Other micro-batches than train's eight pairs: 16, and 11 (whose rows fill the GPU's blocks nearly twice).
on_batches() {
  "$build/bench_train" "$models/$shape" "$cores" 1 $((16 * 750)) --shape "$shape" --device cuda
  local rc=$?
  "$build/bench_train" "$models/$shape" "$cores" 1 $((11 * 750)) --pairs 22 --shape "$shape" --device cuda && return $rc
}
on_nf4() {
  "$build/bench_engine" prefill,decode1,decode64 "$models/$shape" "$cores" 1 --shape "$shape" --device cuda --quantize nf4
  local rc=$?
  "$build/bench_train" "$models/$shape" "$cores" 1 --shape "$shape" --device cuda --quantize nf4 --lora-r 64 && return $rc
}
export -f on_qwen on_nf4 on_batches
export shape qwen models
phase qwen 60 "$qwen" bash -c on_qwen
phase nf4 60 "$shape on a base packed as nf4" bash -c on_nf4
kept=0
if [[ $wanted == *" baseline "* ]]; then
  for wheel in .whl/*.whl; do
    if [ -f "$wheel" ]; then "$python" -m zipfile -e "$wheel" "$scratch/site" >>"$log" 2>&1; fi
  done
  # Half a minute for imports and the model; rounds start only within the remaining time.
  phase baseline 240 "transformers + peft" env PYTHONUNBUFFERED=1 HF_HUB_OFFLINE=1 PYTHONPATH="$scratch/site${PYTHONPATH:+:$PYTHONPATH}" \
    "$python" bench/gpu_baseline.py "$shape:prefill1,prefill,decode1,decode64,dpo" "$larger:dpo" "$qwen:prefill,decode64,dpo" --seconds $(($(left) - 45 < 190 ? $(left) - 45 : 190))
fi
phase batches 60 "DPO with LoRA, $shape, other micro-batches" bash -c on_batches
phase profile 150 "kernels of two layers of 7b" "$python" bench/gpu_profile.py "$build" "$models/7b-profile" "$out" --seconds $(($(left) - 10 < 140 ? $(left) - 10 : 140))

if [ -n "$python" ]; then "$python" bench/gpu_summary.py "$rows"; else cat "$rows"; fi
echo "rows: $rows, log: $log, ${SECONDS} s"
grep -q '"rc":[1-9]' "$rows" && exit 1 || exit 0
