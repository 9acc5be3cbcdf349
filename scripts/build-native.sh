#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Builds the native engine and its addon: build/native/vpref_cpu.node, or build/native-cuda/vpref_cuda.node.
#   scripts/build-native.sh [cpu|cuda] [--tests] [CMAKE OPTIONS...]      JOBS=N limits the compiler processes
set -euo pipefail
cd "$(dirname "$0")/.."

kind=cpu
case "${1:-}" in cpu | cuda) kind=$1; shift ;; esac
folder=build/native
options=(-DVPREF_ADDON=ON -DCMAKE_BUILD_TYPE=Release)
if [ "$kind" = cuda ]; then
  folder=build/native-cuda
  options+=(-DVPREF_CUDA=ON)
fi
target=(--target vpref_addon)
if [ "${1:-}" = --tests ]; then
  shift
  options+=(-DVPREF_TESTS=ON)
  target=()
else
  options+=(-DVPREF_TESTS=OFF)
fi

mkdir -p "$folder"
# Several jobs of a cluster may share one checkout: one builds, the others wait and find it done.
exec 9>"$folder/.lock"
flock 9
generator=()
if [ ! -f "$folder/CMakeCache.txt" ] && command -v ninja >/dev/null; then generator=(-G Ninja); fi
cmake -S native -B "$folder" "${generator[@]}" "${options[@]}" "$@" >"$folder/configure.log" 2>&1 || {
  cat "$folder/configure.log" >&2
  exit 1
}
cmake --build "$folder" --parallel "${JOBS:-$(nproc)}" "${target[@]}"
