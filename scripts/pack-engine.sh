#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Builds the prebuilt engine's package: scripts/pack-engine.sh [--arch x64|arm64] [--jobs N] [-o DIR]
# Writes DIR/vpref-engine-linux-ARCH-VERSION.tgz (DIR: build/packs). `npm install -g` of it and of vpref's own package runs on a machine without compiler.
# Libraries that a bare machine lacks (oneDNN, OpenMP) are beside the addon, with their licences. --arch arm64 on x64 needs g++-aarch64-linux-gnu;
# it takes oneDNN for arm64 from Debian's archive if it is reachable, else the built-in kernels.
set -euo pipefail
cd "$(dirname "$0")/.."

# The oldest C library that a prebuilt engine may need: Debian 12, Ubuntu 22.04, RHEL 9.
max_glibc=2.34
# Node itself needs these, so they are present.
system_libraries='^(ld-linux.*|libc|libm|libdl|librt|libpthread|libstdc\+\+|libgcc_s)\.so'

host=$(node -p process.arch) arch= jobs=() out=build/packs
while [ $# -gt 0 ]; do
  case $1 in
    --arch) arch=$2; shift ;;
    --jobs) jobs=(--jobs "$2"); shift ;;
    -o) out=$2; shift ;;
    *) echo "pack-engine: unknown option $1" >&2; exit 2 ;;
  esac
  shift
done
arch=${arch:-$host}
case $arch in
  x64) triplet=x86_64-linux-gnu processor=x86_64 ;;
  arm64) triplet=aarch64-linux-gnu processor=aarch64 ;;
  *) echo "pack-engine: --arch: expected x64 or arm64, got $arch" >&2; exit 2 ;;
esac
name=vpref-engine-linux-$arch
build=build/engine-$arch
options=(-DVPREF_PORTABLE=ON -DVPREF_MPI=OFF)
prefix= libraries=/usr/lib/$triplet docs=/usr/share/doc

# Debian's packages for the other architecture, unpacked and not installed. Each step may fail: "set -e" does not hold in a condition.
unpack_debs() {
  local sysroot=$1 deb
  shift
  rm -rf "$sysroot/debs" && mkdir -p "$sysroot/debs" || return
  # _apt, who downloads, may not write below the user's folders.
  (cd "$sysroot/debs" && apt-get -o APT::Sandbox::User=root download -qq "$@") || return
  for deb in "$sysroot"/debs/*.deb; do dpkg -x "$deb" "$sysroot" || return; done
}
fetch_sysroot() {
  local sysroot=$PWD/$build/sysroot base
  rm -rf "$sysroot"
  dpkg --print-foreign-architectures | grep -qx "$1" || { dpkg --add-architecture "$1" && apt-get update -qq; } || return
  unpack_debs "$sysroot" "libdnnl-dev:$1" "libdnnl2:$1" "ocl-icd-libopencl1:$1" "libgomp1:$1" || return
  # The licence of libgomp1 is in the package that its folder links to, such as gcc-12-base.
  base=$(readlink "$sysroot/usr/share/doc/libgomp1") || return
  unpack_debs "$sysroot" "$(basename "$base"):$1" || return
  libraries=$sysroot/usr/lib/$triplet docs=$sysroot/usr/share/doc
}

if [ "$arch" != "$host" ]; then
  prefix=$triplet-
  command -v "${prefix}g++" >/dev/null || { echo "pack-engine: missing: ${prefix}g++ (Debian: g++-$(echo $triplet | tr _ -))" >&2; exit 1; }
  options+=(-DCMAKE_SYSTEM_NAME=Linux -DCMAKE_SYSTEM_PROCESSOR=$processor -DCMAKE_CXX_COMPILER="${prefix}g++")
  mkdir -p "$build"
  if command -v apt-get >/dev/null && fetch_sysroot "$arch" >"$build/sysroot.log" 2>&1; then
    include=$(dirname "$(find "$libraries/../../include" -name dnnl.hpp -path '*oneapi*')")
    options+=(-DDNNL_INCLUDE="$include" -DDNNL_LIBRARY="$libraries/libdnnl.so" "-DCMAKE_MODULE_LINKER_FLAGS=-Wl,-rpath-link,$libraries")
  else
    echo "pack-engine: oneDNN for $arch is not reached ($build/sysroot.log): the built-in kernels multiply" >&2
    options+=(-DVPREF_DNNL=OFF -DVPREF_OPENBLAS=OFF)
  fi
fi

node scripts/build.mjs
scripts/build-native.sh --no-tests --build-dir "$build" "${jobs[@]}" "${options[@]}"

folder=$build/package
rm -rf "$folder" && mkdir -p "$folder/licenses"
cp "$build/vpref_cpu.node" "$folder/"
"${prefix}strip" --strip-unneeded "$folder/vpref_cpu.node"
cp LICENSE "$folder/"

# The libraries that the addon and its libraries need, except the system's; each with its licence file.
needed() { "${prefix}objdump" -p "$1" | awk '$1 == "NEEDED" { print $2 }' | grep -vE "$system_libraries" || true; }
license_of() {
  local package
  package=$(basename "$(dirname "$1")")
  mkdir -p "$folder/licenses/$package" && cp "$1" "$folder/licenses/$package/copyright"
}
collect() {
  local library file copyright
  for library in $(needed "$1"); do
    [ -e "$folder/$library" ] && continue
    file=$libraries/$library
    [ -e "$file" ] || file=$("${prefix}g++" -print-file-name="$library")
    [ -e "$file" ] || { echo "pack-engine: $1 needs $library, which is not found" >&2; exit 1; }
    cp -L "$file" "$folder/$library"
    case $library in
      libdnnl.*) copyright=$docs/libdnnl2/copyright ;;
      libgomp.*) copyright=$docs/libgomp1/copyright ;;
      libOpenCL.*) copyright=$docs/ocl-icd-libopencl1/copyright ;;
      *) echo "pack-engine: the licence of $library is not known: add it here" >&2; exit 1 ;;
    esac
    [ -e "$copyright" ] || copyright=$(readlink -f "${copyright%/*}")/copyright
    [ -e "$copyright" ] || { echo "pack-engine: $copyright is missing: the licence of $library" >&2; exit 1; }
    license_of "$copyright"
    collect "$folder/$library"
  done
}
collect "$folder/vpref_cpu.node"

newest() { "${prefix}objdump" -T "$folder"/*.node "$folder"/*.so* 2>/dev/null | grep -oE "$1_[0-9.]+" | sort -Vu | tail -1 | cut -d_ -f2; }
glibc=$(newest GLIBC)
if [ "$(printf '%s\n' "$glibc" $max_glibc | sort -V | tail -1)" != $max_glibc ]; then
  echo "pack-engine: the engine needs glibc $glibc, expected at most $max_glibc: build on an older system" >&2
  exit 1
fi
node --import tsx scripts/engine-manifest.ts "$arch" "$glibc" >"$folder/package.json"
cat >"$folder/README.md" <<TEXT
# $name

The native engine of [vpref](https://www.npmjs.com/package/vpref), built for Linux on $arch. It needs glibc $glibc or later, and the C++ library of GCC 11 or
later (GLIBCXX_$(newest GLIBCXX)). CPU only; instruction sets are chosen when it starts. \`vpref\` finds it when both packages are installed side by side:

    npm install -g vpref $name

\`vpref doctor\` says which engine runs. Where this one does not fit, \`vpref\` builds its own. The libraries beside it have their licences in licenses/.
TEXT
mkdir -p "$out"
tarball=$(npm pack --silent --pack-destination "$out" "./$folder")
echo "pack-engine: $out/$tarball: glibc $glibc, GLIBCXX $(newest GLIBCXX), $(du -h "$out/$tarball" | cut -f1)"
