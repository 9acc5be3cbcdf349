#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Builds the native engine: scripts/build-native.sh [--cuda] [--no-tests] [--jobs N] [--print-dir] [--check]
#   [--build-dir DIR] [--node-modules DIR] [-DNAME=VALUE...]
# The addon goes to DIR/vpref_cpu.node (vpref_cuda.node with --cuda), DIR being build/native unless given. Objects are kept in one folder per
# machine kind (architecture, SIMD level, C library, options), so nodes of a cluster that share a checkout do not
# rebuild each other's; a lock allows only one concurrent build.
set -euo pipefail
cd "$(dirname "$0")/.."

cuda=OFF tests=ON jobs=$(nproc 2>/dev/null || echo 2) print_dir= check= build=build/native modules=node_modules extra=()
while [ $# -gt 0 ]; do
  case $1 in
    --cuda) cuda=ON ;;
    --no-tests) tests=OFF ;;
    --jobs) jobs=$2; shift ;;
    --print-dir) print_dir=yes ;;
    --check) check=yes ;;
    --build-dir) build=$2; shift ;;
    --node-modules) modules=$2; shift ;;
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
dir=$build/$key
if [ -n "$print_dir" ]; then echo "$dir"; exit; fi

if [ ! -f native/CMakeLists.txt ]; then echo "native: no sources, skipped"; exit; fi
missing=()
command -v cmake >/dev/null || missing+=(cmake)
compiler=
for name in ${CXX:-} g++ c++ clang++; do if command -v "$name" >/dev/null; then compiler=$name; break; fi; done
[ -n "$compiler" ] || missing+=("a C++ compiler")
command -v ninja >/dev/null || command -v make >/dev/null || missing+=("make or ninja")
if [ $cuda = ON ] && ! command -v nvcc >/dev/null && [ ! -x "${CUDACXX:-}" ]; then missing+=("nvcc (the CUDA toolkit, or CUDACXX=/path/to/nvcc)"); fi
if [ ${#missing[@]} -gt 0 ]; then
  (IFS=,; echo "missing: ${missing[*]}" | sed 's/,/, /g') >&2
  cat >&2 <<'EOF'
install them and run again:
  Debian, Ubuntu   sudo apt-get install cmake g++ make libdnnl-dev   (libdnnl-dev makes it fast)
  Fedora, RHEL     sudo dnf install cmake gcc-c++ make onednn-devel
  without root     module load gcc cmake, or: conda install -c conda-forge cmake cxx-compiler make onednn
EOF
  exit 1
fi
[ -z "$check" ] || exit 0
if [ $tests = ON ] && ! [ -e /usr/include/gtest/gtest.h ] && ! cmake --find-package -DNAME=GTest -DCOMPILER_ID=GNU -DLANGUAGE=CXX -DMODE=EXIST >/dev/null 2>&1; then
  echo "native: GoogleTest not found, native tests skipped (Debian: libgtest-dev)"
  tests=OFF
fi
generator=()
if command -v ninja >/dev/null; then generator=(-G Ninja); fi
addon=OFF
if [ -d native/addon ] && [ -d "$modules/node-addon-api" ]; then addon=ON; fi

mkdir -p "$dir"
exec 9>"$build/lock"
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
  -DVPREF_ADDON=$addon -DVPREF_NODE_MODULES="$(cd "$modules" 2>/dev/null && pwd)" "${extra[@]}" >"$dir/configure.log" 2>&1; then
  cat "$dir/configure.log" >&2
  exit 1
fi
if ! cmake --build "$dir" --parallel "$jobs" >"$dir/build.log" 2>&1; then
  grep -A12 -E 'error|FAILED|Error' "$dir/build.log" | head -120 >&2 || tail -20 "$dir/build.log" >&2
  exit 1
fi
for built in "$dir"/*.node "$dir"/vpref_mpi.so; do
  [ -e "$built" ] || continue
  target=$build/$(basename "$built")
  # Renamed into place: a process that has the old one loaded keeps it.
  if ! cmp -s "$built" "$target"; then cp "$built" "$target.$$" && mv "$target.$$" "$target"; fi
done
echo "native: built in $dir"
