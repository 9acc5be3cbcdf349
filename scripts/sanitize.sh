#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# The native tests under the address and undefined-behaviour sanitizers, then the loader's fuzz with other seeds.
# scripts/sanitize.sh [ROUNDS]: ROUNDS times 120 damaged checkpoints (default 60, a minute or two).
set -euo pipefail
cd "$(dirname "$0")/.."
rounds=${1:-60}
options=(-DVPREF_SANITIZE=ON -DVPREF_ADDON=OFF)
scripts/build-native.sh "${options[@]}"
dir=$(scripts/build-native.sh --print-dir "${options[@]}")
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-2} OMP_WAIT_POLICY=passive
# The tests ask for more memory than there is, and expect an error; the pools of threads live to the end.
export ASAN_OPTIONS=allocator_may_return_null=1:detect_leaks=1 UBSAN_OPTIONS=print_stacktrace=1
ctest --test-dir "$dir" --output-on-failure --no-label-summary
"$dir"/model_tests --gtest_filter='*RandomDamage*' --gtest_shuffle --gtest_repeat="$rounds" --gtest_brief=1 --gtest_break_on_failure
echo "sanitize: native tests and $rounds rounds of damaged checkpoints passed"
