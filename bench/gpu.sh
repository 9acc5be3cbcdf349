#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Builds the CUDA engine with CMake alone, tests it on the GPU, measures it beside transformers + peft, and prints a short table.
#   bench/gpu.sh [PHASE...]     phases: build ops device sanitizer rates engine train large baseline; all of them when none is named
# For a machine with CMake, nvcc, g++ and Python with torch (the baseline) but without Node. Ends within LIMIT seconds (570): every phase has its own limit,
# and one that fails or runs over does not take the others with it. Rows and logs go to $OUT (or build/gpu). GoogleTest comes as installed, else from its
# sources in .gtest or /usr/src/googletest. Device settings are left as they are.
set -uo pipefail
cd "$(dirname "$0")/.."
out=${OUT:-build/gpu} limit=${LIMIT:-570} build=${BUILD:-build/native/gpu}
mkdir -p "$out" "$build"
rows=$out/gpu.ndjson log=$out/gpu.log
: >"$rows" >"$log"
wanted=" ${*:-build ops device sanitizer rates engine train large baseline} "
cores=$(nproc) python=$(command -v python3 || true)

left() { echo $((limit - SECONDS)); }

# phase NAME LIMIT NOTE COMMAND...: JSON lines of its output become rows; everything goes to the log.
phase() {
  local name=$1 most=$2 note=$3 begin=$SECONDS rc
  shift 3
  [[ $wanted == *" $name "* ]] || return 0
  local seconds=$(($(left) - 5 < most ? $(left) - 5 : most))
  if [ $seconds -lt 5 ]; then
    echo "{\"phase\":\"$name\",\"rc\":124,\"seconds\":0,\"note\":\"no time left\"}" >>"$rows"
    return 0
  fi
  echo "== $name (at ${SECONDS} s, at most $seconds s): $*" >>"$log"
  timeout -k 5 "$seconds" "$@" >"$out/.$name" 2>&1
  rc=$?
  # Tests that all were skipped prove nothing.
  if [ $rc -eq 0 ] && grep -qF '[  PASSED  ] 0 tests' "$out/.$name"; then rc=77 note="nothing was run"; fi
  cat "$out/.$name" >>"$log"
  grep -E '^\{' "$out/.$name" >>"$rows"
  [ $rc -eq 0 ] || { echo "$name failed ($rc):"; grep -E 'error|Error|FAILED|Failure' "$out/.$name" | head -12; tail -3 "$out/.$name"; }
  echo "{\"phase\":\"$name\",\"rc\":$rc,\"seconds\":$((SECONDS - begin)),\"note\":\"$note\"}" >>"$rows"
  rm -f "$out/.$name"
}

build_all() {
  local generator=() gtest=() arch
  command -v ninja >/dev/null && generator=(-G Ninja)
  for dir in "$PWD/.gtest" /usr/src/googletest; do [ -f "$dir/CMakeLists.txt" ] && gtest=("-DVPREF_GTEST=$dir"); done
  # Only this machine's architecture: half the compile time.
  arch=$(nvidia-smi --query-gpu=compute_cap --format=csv,noheader 2>/dev/null | head -1 | tr -d .)
  [ "$arch" = 90 ] && arch=90a
  cmake -S native -B "$build" "${generator[@]}" "${gtest[@]}" -DVPREF_CUDA=ON -DVPREF_MPI=OFF -DVPREF_BENCH=ON -DVPREF_TESTS=ON ${arch:+-DCMAKE_CUDA_ARCHITECTURES=$arch-real} || return
  cmake --build "$build" --parallel "$cores" --target ops_tests device_tests ops_bench bench_engine bench_train
}
export -f build_all
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
models=$(mktemp -d)
trap 'rm -rf "$models"' EXIT
for shape in 7b 13b; do "$build/bench_engine" make "$models/$shape" --shape $shape >>"$log" 2>&1; done

# Correctness needs no quiet machine: the three run together.
tests() {
  phase ops 80 "op table on device cuda" "$build/ops_tests" --gtest_filter='*cuda*' --gtest_brief=1 &
  phase device 80 "whole model against the CPU and the goldens" "$build/device_tests" --gtest_brief=1 &
  if command -v compute-sanitizer >/dev/null; then
    phase sanitizer 90 "memcheck" compute-sanitizer --error-exitcode 9 "$build/ops_tests" --gtest_brief=1 \
      --gtest_filter='*AttentionTest*/cuda_bf16*:*RmsNorm*/cuda_bf16*:*Rows*/cuda*:*LogSoftmax*/cuda_f32*:*SampleToken*/cuda_f32*' &
  fi
  wait
}
tests
phase rates 70 "ops beside measured product and copy rates" "$build/ops_bench" --device cuda
phase engine 80 "sampling and scoring, 7B" "$build/bench_engine" prefill,decode1,decode64,group64,score "$models/7b" "$cores" 2 --shape 7b --device cuda
phase train 70 "DPO r=1024, 7B" "$build/bench_train" "$models/7b" "$cores" 2 --shape 7b --device cuda
phase large 60 "DPO r=1024, 13B fits" "$build/bench_train" "$models/13b" "$cores" 1 --shape 13b --device cuda --pairs 8
phase baseline 150 "transformers + peft" env PYTHONUNBUFFERED=1 "$python" bench/gpu_baseline.py --shape 7b --seconds 100

if [ -n "$python" ]; then "$python" bench/gpu_summary.py "$rows"; else cat "$rows"; fi
echo "rows: $rows, log: $log, ${SECONDS} s"
grep -q '"rc":[1-9]' "$rows" && exit 1 || exit 0
