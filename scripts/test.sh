#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Run by `make test`: every step to its end, then each runner's summary. Fails if a step failed.
set -uo pipefail
cd "$(dirname "$0")/.."
export npm_config_update_notifier=false
logs=build/logs
mkdir -p $logs
failed=()

step() { # step NAME COMMAND...
  local name=$1 start=$SECONDS
  shift
  echo "== $name"
  if "$@" 2>&1 | tee "$logs/$name.log"; then echo "== $name: ok, $((SECONDS - start)) s"; else
    echo "== $name: FAILED, $((SECONDS - start)) s"
    failed+=("$name")
  fi
}

scripts/setup.sh --tests || exit 1
native_tests() {
  local dir
  dir=$(scripts/build-native.sh --print-dir)
  if [ ! -e "$dir/CTestTestfile.cmake" ]; then echo "native tests: skipped (not built: no sources, or no GoogleTest)"; return; fi
  if [ ! -e "$dir/vpref_mpi.so" ]; then echo "native tests of two ranks: skipped (no MPI was found: Debian libopenmpi-dev)"; fi
  OMP_NUM_THREADS=${OMP_NUM_THREADS:-2} OMP_WAIT_POLICY=${OMP_WAIT_POLICY:-passive} ctest --test-dir "$dir" --output-on-failure --no-label-summary
}
step types node_modules/.bin/tsc -p .
step lint node_modules/.bin/biome check . --diagnostic-level=error
step mirror node --import tsx scripts/check-mirror.ts
step imports node --import tsx scripts/check-imports.ts
step parameters node --import tsx scripts/check-parameters.ts
step format scripts/format-native.sh --check
step build node scripts/build.mjs
step native scripts/build-native.sh
step native-tests native_tests
step cuda node --import tsx scripts/check-cuda.ts
step man scripts/docs.sh --check
step node-tests scripts/run-tests.sh
node22=$(scripts/node22.sh)
if [ -z "$node22" ]; then
  echo "== node22-tests: skipped (no Node 22 here, and none could be installed from npm)"
elif [ "$("$node22" -p process.version)" = "$(node -p process.version)" ]; then
  echo "== node22-tests: the tests above ran on Node 22"
else
  # On another Node only these: the cases run every command, and the engine and the package may break.
  step node22-tests scripts/run-tests.sh "$node22" test/cases.test.ts test/data-stages.test.ts test/package.test.ts test/engine/policy.test.ts
fi

echo
echo "== summaries"
grep -hE '^[0-9]+% tests passed|^Total Test time' $logs/native-tests.log
for name in node-tests node22-tests; do
  if [ -e $logs/$name.log ]; then
    echo "$name"
    grep -E '^. (tests|suites|pass|fail|cancelled|skipped|todo|duration_ms) [0-9]' $logs/$name.log
  fi
done
if [ ${#failed[@]} -gt 0 ]; then
  echo "FAILED: ${failed[*]} (logs in $logs/)"
  exit 1
fi
echo "all steps passed in $SECONDS s"
