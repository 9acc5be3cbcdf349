#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Builds the native engine: scripts/build-native.sh [--cuda] [--no-tests] [--jobs N] [--print-dir] [-DNAME=VALUE...]
# The addon goes to build/native/vpref_cpu.node (vpref_cuda.node with --cuda). Objects are kept in one folder per
# machine kind (architecture, SIMD level, C library, options), so nodes of a cluster that share a checkout do not
# rebuild each other's; a lock lets one build at a time run.
set -euo pipefail
cd "$(dirname "$0")/.."

cuda=OFF tests=ON jobs=$(nproc 2>/dev/null || echo 2) print_dir= extra=()
while [ $# -gt 0 ]; do
  case $1 in
    --cuda) cuda=ON ;;
    --no-tests) tests=OFF ;;
    --jobs) jobs=$2; shift ;;
    --print-dir) print_dir=yes ;;
    -D*) extra+=("$1") ;;
    *) echo "build-native: unknown option $1" >&2; exit 2 ;;
  esac
  shift
done

simd() {
  local flags
  flags=$(grep -m1 -E '^(flags|Features)' /proc/cpuinfo 2>/dev/null || true)
  case " $flags " in
    *" amx_bf16 "*) echo amx ;;
    *" avx512bw "*) echo avx512 ;;
    *" avx2 "*) echo avx2 ;;
    *) echo base ;;
  esac
}
libc=$(getconf GNU_LIBC_VERSION 2>/dev/null | tr -d ' ' || echo libc)
key="$(uname -m)-$(simd)-$libc"
[ $cuda = OFF ] || key+=-cuda
[ ${#extra[@]} -eq 0 ] || key+=-$(printf '%s\n' "${extra[@]}" | cksum | cut -d' ' -f1)
dir=build/native/$key
if [ -n "$print_dir" ]; then echo "$dir"; exit; fi

if [ ! -f native/CMakeLists.txt ]; then echo "native: no sources, skipped"; exit; fi
missing=()
for tool in cmake g++; do command -v $tool >/dev/null || missing+=($tool); done
if [ $cuda = ON ] && ! command -v nvcc >/dev/null && [ ! -x "${CUDACXX:-}" ]; then missing+=("nvcc (the CUDA toolkit, or CUDACXX=/path/to/nvcc)"); fi
if [ ${#missing[@]} -gt 0 ]; then
  echo "build-native: missing: ${missing[*]}; scripts/setup.sh says how to install them" >&2
  exit 1
fi
if [ $tests = ON ] && ! [ -e /usr/include/gtest/gtest.h ] && ! cmake --find-package -DNAME=GTest -DCOMPILER_ID=GNU -DLANGUAGE=CXX -DMODE=EXIST >/dev/null 2>&1; then
  echo "native: GoogleTest not found, native tests skipped (Debian: libgtest-dev)"
  tests=OFF
fi
generator=()
if command -v ninja >/dev/null; then generator=(-G Ninja); fi
addon=OFF
if [ -d native/addon ] && [ -d node_modules/node-addon-api ]; then addon=ON; fi

mkdir -p "$dir"
exec 9>"build/native/lock"
if command -v flock >/dev/null; then
  locked=0
  flock -n 9 || locked=$?
  if [ $locked -eq 1 ]; then
    echo "native: another build is running, waiting for it"
    flock 9
  elif [ $locked -gt 1 ]; then
    # Lustre without its flock option.
    echo "native: this file system has no locks: build on one node at a time"
  fi
fi
if ! cmake -S native -B "$dir" "${generator[@]}" -DVPREF_CUDA=$cuda -DVPREF_TESTS=$tests \
  -DVPREF_ADDON=$addon "${extra[@]}" >"$dir/configure.log" 2>&1; then
  cat "$dir/configure.log" >&2
  exit 1
fi
if ! cmake --build "$dir" --parallel "$jobs" >"$dir/build.log" 2>&1; then
  grep -A12 -E 'error|FAILED|Error' "$dir/build.log" | head -120 >&2
  exit 1
fi
for built in "$dir"/*.node "$dir"/vpref_mpi.so; do
  [ -e "$built" ] || continue
  target=build/native/$(basename "$built")
  # Renamed into place: a process that has the old one loaded keeps it.
  if ! cmp -s "$built" "$target"; then cp "$built" "$target.$$" && mv "$target.$$" "$target"; fi
done
echo "native: built in $dir"
