#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# bench/gpu.sh from end to end without a GPU: the real benches and tests over the fiber executor, on two layers. Prints the script's table.
#   scripts/checks/gpu-script.sh BUILD_DIR     a CPU build with -DVPREF_BENCH=ON, of the targets fiber_benches fiber_ops_tests fiber_device_tests
# The figures are meaningless; the check is that every phase gives its rows. Only a few op tests run, to save time.
set -euo pipefail
cd "$(dirname "$0")/../.."
from=$(realpath "$1")
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir -p "$work/bin" "$work/build"
program() { printf '#!/bin/bash\n%s\n' "$2" >"$1" && chmod +x "$1"; }
program "$work/bin/nvidia-smi" 'case $* in *compute_cap*) echo 9.0 ;; *) echo "no GPU, the fiber executor" ;; esac'
program "$work/bin/nvcc" 'echo none'
program "$work/bin/cmake" 'exit 0'
for name in ops_bench bench_engine bench_train; do ln -s "$from/fiber_$name" "$work/build/$name"; done
program "$work/build/ops_tests" "exec $from/fiber_ops_tests --gtest_filter='*Rope*/cuda*:*RmsNorm*/cuda*' --gtest_brief=1"
program "$work/build/device_tests" "exec $from/fiber_device_tests --gtest_filter='DeviceMemory*:*LogpsEqual*mha' --gtest_brief=1"
PATH="$work/bin:$PATH" OUT=${OUT:-$work/out} BUILD=$work/build SHAPE=tiny LARGER=tiny QWEN=tiny SHARDS=4 LIMIT=${LIMIT:-570} \
  bench/gpu.sh build ops device rates engine train large qwen nf4
