#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Installs what a build and its tests need: system packages through apt if root, else it lists what to install;
# then the npm packages of package-lock.json. Does nothing, and needs no network, if all is installed.
# --tests: also what only tests use: GoogleTest, readers of what vpref writes, a browser, MPI and Slurm for a small cluster.
set -euo pipefail
cd "$(dirname "$0")/.."

say() { echo "setup: $*"; }

# Needed: nothing works without. Wanted: without, something is slower or a test is skipped.
needed=() wanted=()
need() { command -v "$1" >/dev/null || needed+=("$2"); }
want() { command -v "$1" >/dev/null || wanted+=("$2"); }
need cmake cmake
need g++ g++
need make make
want ninja ninja-build
want jq jq
has_header() { command -v g++ >/dev/null && echo "#include <$1>" | g++ -E -x c++ - >/dev/null 2>&1; }
has_header dnnl.hpp || has_header oneapi/dnnl/dnnl.hpp || wanted+=(libdnnl-dev)

if [ "${1:-}" = --tests ]; then
  want mlr miller
  want mandoc mandoc
  command -v chromium >/dev/null || command -v google-chrome >/dev/null || wanted+=(chromium)
  has_header gtest/gtest.h || wanted+=(libgtest-dev)
  want mpirun openmpi-bin
  command -v mpicxx >/dev/null || wanted+=(libopenmpi-dev)
  PATH=$PATH:/usr/sbin want slurmctld slurm-wlm
  PATH=$PATH:/usr/sbin want munged munge
fi

if [ $((${#needed[@]} + ${#wanted[@]})) -gt 0 ]; then
  packages=("${needed[@]}" "${wanted[@]}")
  if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    say "installing ${packages[*]}"
    log=$(mktemp)
    # RUNLEVEL: do not start an installed service.
    if ! { apt-get update -qq && RUNLEVEL=1 DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${packages[@]}"; } >"$log" 2>&1; then
      tail -5 "$log" >&2
      say "apt-get could not install them all"
    fi
    rm -f "$log"
  else
    say "missing; on Debian or Ubuntu: sudo apt-get install ${packages[*]}"
  fi
  for tool in cmake g++ make; do
    if ! command -v $tool >/dev/null; then
      say "cannot continue without $tool (on a cluster: try 'module load gcc cmake')"
      exit 1
    fi
  done
fi

node_ok() { node -e 'const [a, b] = process.versions.node.split(".").map(Number); process.exit(a > 20 || (a === 20 && b >= 19) ? 0 : 1)'; }
if ! command -v node >/dev/null || ! node_ok; then
  say "expected Node 20.19 or later, found $(node --version 2>/dev/null || echo none)"
  say "install it from https://nodejs.org, or: npm install -g node@22, or on a cluster: module load nodejs"
  exit 1
fi

# A link belongs to another checkout: do not change it.
if [ ! -L node_modules ]; then
  sum=$(cksum <package-lock.json)
  if [ "$(cat node_modules/.vpref-lock 2>/dev/null)" != "$sum" ]; then
    say "installing npm packages"
    npm ci --no-audit --no-fund --loglevel=error || {
      say "npm ci failed: a network, or an npm cache that has the packages, is needed once"
      exit 1
    }
    echo "$sum" >node_modules/.vpref-lock
  fi
fi
