#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Runs the TypeScript tests: scripts/run-tests.sh [NODE] [FILE...]. Two concurrent files, so the tests'
# processes fit on a small machine.
set -euo pipefail
cd "$(dirname "$0")/.."
node=node
if [ $# -gt 0 ] && [[ $1 != *.test.ts ]]; then node=$1; shift; fi
if [ $# -eq 0 ]; then mapfile -t files < <(find test -name '*.test.ts' | sort); else files=("$@"); fi
exec "$node" --import tsx --test --test-concurrency=2 --test-reporter=spec "${files[@]}"
