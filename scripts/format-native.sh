#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Formats the C++ and CUDA sources in place; --check only lists files that differ (make lint).
set -euo pipefail
cd "$(dirname "$0")/.."
mode=(-i)
[ "${1-}" != --check ] || mode=(--dry-run --Werror)
git ls-files -co --exclude-standard '*.cc' '*.h' '*.cu' '*.cuh' | xargs -P 2 -n 16 node_modules/.bin/clang-format "${mode[@]}"
