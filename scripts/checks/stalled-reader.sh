#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# A reader that sleeps while records flow: nothing may be lost, and memory must stay as with a fast reader.
# usage: scripts/checks/stalled-reader.sh [SECONDS [RECORDS]]   (60 and 200000 unless given)
set -euo pipefail
seconds=${1:-60} records=${2:-200000}
vpref="$(cd "$(dirname "$0")/../.." && pwd)/bin/run.js"
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
node -e '
  const text = "Two dogs are lying on a brown sofa. ".repeat(8);
  let lines = [];
  for (let i = 0; i < Number(process.argv[1]); i++) {
    const responses = [{ text: `${text}${i}` }, { text: `${text}no ${i}`, view: "diffusion" }];
    lines.push(JSON.stringify({ id: `r${i}`, images: [`/data/${i}.jpg`], prompt: "What is there?", responses }));
    if (lines.length === 1000) { require("fs").writeSync(1, lines.join("\n") + "\n"); lines = []; }
  }
  if (lines.length > 0) require("fs").writeSync(1, lines.join("\n") + "\n");
' "$records" >in.ndjson

# Peak resident memory of the process in MiB, from the kernel: the process ends only after its output is read.
peak() { awk '/VmHWM/ { print int($2 / 1024) }' "/proc/$1/status"; }

# run NAME READER INPUT: the rows that READER got, and the peak memory.
run() {
  mkfifo "$1.pipe"
  ($2 >"$1.out") <"$1.pipe" &
  local reader=$!
  if [ "$3" = file ]; then node "$vpref" pair -q --rule seva in.ndjson >"$1.pipe" & else
    cat in.ndjson | node "$vpref" pair -q --rule seva >"$1.pipe" &
  fi
  local writer=$! highest=0 now
  while kill -0 $writer 2>/dev/null; do
    now=$(peak $writer 2>/dev/null || true)
    [ "${now:-0}" -le $highest ] || highest=$now
    sleep 0.2
  done
  wait $writer || { echo "FAILED: vpref ended with $? ($1)"; exit 1; }
  wait $reader
  echo $highest >"$1.peak"
}
sleepy() { head -c 100; sleep "$seconds"; cat; }

failed=0
for input in file pipe; do
  run "straight-$input" cat $input
  run "stalled-$input" sleepy $input
  lines=$(wc -l <"stalled-$input.out")
  if cmp -s "straight-$input.out" "stalled-$input.out"; then same="the same bytes"; else same="OTHER BYTES" failed=1; fi
  read -r before <"straight-$input.peak"
  read -r after <"stalled-$input.peak"
  [ "$after" -le $((before + 24)) ] || { same+=", MORE MEMORY"; failed=1; }
  echo "$input: $lines of $records rows after $seconds s asleep, $same; peak $after MiB, $before MiB with a reader that keeps up"
done
exit $failed
