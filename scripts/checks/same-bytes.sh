#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# On the CPU rows have the same bytes for any split of a run: killed and resumed, in shards, in another order, with other batch sizes and thread counts.
# usage: scripts/checks/same-bytes.sh [KILLS [ROWS]]   (50 and 60 unless given; KILLS are distributed over sample, score and precompute-ref, f32 and bf16)
set -euo pipefail
kills=${1:-50} rows=${2:-60}
root="$(cd "$(dirname "$0")/../.." && pwd)"
vpref() { node "$root/bin/run.js" "$@"; }
rows_of() { if [ -e "$1" ]; then wc -l <"$1"; else echo 0; fi; }
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
model="$root/fixtures/demo/tiny-llava" data="$root/fixtures/demo/data/test"
# Several questions about one image, so prompts share a prefix; responses of unequal length.
node -e '
  const { readFileSync, writeFileSync } = require("fs");
  const [data, count] = process.argv.slice(1);
  const questions = readFileSync(`${data}/vqa.jsonl`, "utf8").trim().split("\n").map((l) => JSON.parse(l)).slice(0, Number(count));
  const answers = ["Yes.", "There is a red car on the left and a small dog on the right.", "Two.", "A blue bird sits above the table."];
  writeFileSync("in.ndjson", questions.map((q, i) => `${JSON.stringify({ id: `q${i}`, images: [`${data}/images/${q.image}`], prompt: q.text,
    chosen: answers[i % 4], rejected: answers[(i + 1 + (i % 3)) % 4] })}\n`).join(""));
' "$data" "$rows"
awk '{ a[NR] = $0 } END { for (i = NR; i > 0; i--) print a[i] }' in.ndjson >backwards.ndjson

failed=0
# expect WHAT FILE...: the rows of the files, in any order, are those of whole.ndjson.
expect() {
  local what=$1
  shift
  if cmp -s <(sort whole.ndjson) <(cat "$@" | sort); then return; fi
  echo "OTHER BYTES: $what: $(comm -3 <(sort whole.ndjson) <(cat "$@" | sort) | grep -c '^{' || true) of $(wc -l <whole.ndjson) rows"
  failed=1
}
each=$(((kills + 5) / 6)) done_kills=0
for dtype in f32 bf16; do
  for verb in sample score precompute-ref; do
    flags=(-q --model "$model" --dtype "$dtype")
    [ $verb != sample ] || flags+=(-n 2 --temperature 0.8 --max-new-tokens 24 --logps --seed 3)
    vpref $verb "${flags[@]}" in.ndjson -o whole.ndjson
    vpref $verb "${flags[@]}" backwards.ndjson -o backwards.out.ndjson
    expect "$verb $dtype backwards" backwards.out.ndjson
    for shard in 0 1 2; do vpref $verb "${flags[@]}" --shard $shard/3 in.ndjson -o shard.$shard.ndjson; done
    expect "$verb $dtype in shards" shard.[012].ndjson
    vpref $verb "${flags[@]}" --batch-tokens 150 --threads 1 in.ndjson -o small.ndjson
    expect "$verb $dtype in small steps on one thread" small.ndjson
    # Killed after increasing numbers of the remaining rows, until a run ends by itself.
    left=$each
    rm -f killed.ndjson*
    while [ ! -e killed.ndjson ]; do
      node "$root/bin/run.js" $verb "${flags[@]}" --resume in.ndjson -o killed.ndjson & run=$!
      if [ $left -gt 0 ]; then
        before=$(rows_of killed.ndjson.partial)
        for _ in $(seq 2000); do
          kill -0 $run 2>/dev/null || break
          now=$(rows_of killed.ndjson.partial)
          [ "$now" -le "$before" ] || { kill -9 $run 2>/dev/null && { left=$((left - 1)) done_kills=$((done_kills + 1)); }; break; }
          sleep 0.005
        done
      fi
      wait $run 2>/dev/null || true
    done
    cmp -s whole.ndjson killed.ndjson || { echo "OTHER BYTES: $verb $dtype killed and resumed"; failed=1; }
    rm -f ./*.out.ndjson whole.ndjson* shard.* small.ndjson* killed.ndjson*
    echo "$verb $dtype done, $done_kills kills so far"
  done
done
[ $failed = 0 ] && echo "all rows have the same bytes after $done_kills kills"
exit $failed
