#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Writes the files generated from the sources and the built engine: the list of losses, man pages, completions, JSON Schema, the frozen interface, METHODS.md's presets and benchmarks. With --check it
# writes nothing and fails when a committed file differs.
set -euo pipefail
cd "$(dirname "$0")/.."
node --import tsx scripts/losses.ts "$@"
node --import tsx scripts/man.ts "$@"
node --import tsx scripts/completions.ts "$@"
node --import tsx scripts/schema.ts "$@"
node --import tsx scripts/presets.ts "$@"
node --import tsx scripts/benchmarks.ts "$@"
