#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Both papers' pipelines on the bundled tiny model: SeVa without labels, and preferences from a judge (here the ground truth).
# Prints every command. After an interruption, rerun it: it resumes.
#   OUT=DIR for all files (demo-out)    SEED=N of noise, sampling and training (0)
#   JUDGED=N questions of the judged run, of 1200 (600, to save time)
set -euo pipefail
cd "$(dirname "$0")/.."
OUT=${OUT:-demo-out} SEED=${SEED:-0} JUDGED=${JUDGED:-600}
MODEL=fixtures/demo/tiny-llava PREF=fixtures/demo/data/preference TEST=fixtures/demo/data/test
mkdir -p "$OUT"
vpref() { node bin/run.js "$@"; }

bold= plain= dim=
if [ -t 1 ] && [ -z "${NO_COLOR:-}" ]; then bold=$'\e[1m' plain=$'\e[0m' dim=$'\e[2m'; fi
title() { echo; echo "${bold}$*${plain}"; }

# make FILE COMMAND...: runs the command with its output in FILE, unless FILE exists from an earlier start.
make() {
  local file=$OUT/$1 shown= word
  shift
  for word in "$@"; do
    case $word in *' '*) shown+="'$word' " ;; *) shown+="$word " ;; esac
  done
  if [ -e "$file" ]; then echo "  ${dim}\$ $shown-o $file   (done before)${plain}"; return; fi
  echo "  \$ $shown-o $file"
  "$@" -o "$file" --resume
}

# train DIR PAIRS FLAGS...: metrics go to DIR.metrics.ndjson, the cost of the run to DIR.summary.ndjson.
train() {
  local dir=$OUT/$1 pairs=$OUT/$2
  shift 2
  echo "  \$ vpref train $pairs --model $MODEL -o $dir $* --summary $dir.summary.ndjson > $dir.metrics.ndjson"
  if [ -e "$dir/adapter_model.safetensors" ]; then echo "    ${dim}(done before)${plain}"; return; fi
  # A resumed run appends its remaining rows.
  local resume=()
  if compgen -G "$dir/checkpoint-*[0-9]" >/dev/null; then resume=(--resume); else : >"$dir.metrics.ndjson"; fi
  vpref train "$pairs" --model $MODEL -o "$dir" --seed "$SEED" --save-every 20 --summary "$dir.summary.ndjson" "$@" "${resume[@]}" >>"$dir.metrics.ndjson"
}

# answers NAME [ADAPTER]: greedy responses to the held-out questions, and their scores.
answers() {
  local name=$1 adapter=()
  if [ $# -gt 1 ]; then adapter=(--adapter "$OUT/$2"); fi
  for set in short long pope; do
    make "$name.$set.ndjson" vpref sample --model $MODEL "${adapter[@]}" --max-new-tokens 96 "$OUT/test.$set.ndjson"
  done
  for set in short long; do
    echo "  \$ vpref eval hallucination $OUT/$name.$set.ndjson --labels $TEST/captions.jsonl"
    vpref eval hallucination "$OUT/$name.$set.ndjson" --labels $TEST/captions.jsonl >"$OUT/$name.$set.scores.ndjson"
  done
  echo "  \$ vpref eval pope $OUT/$name.pope.ndjson --labels $TEST/pope_*.json"
  vpref eval pope "$OUT/$name.pope.ndjson" --labels $TEST/pope_random.json $TEST/pope_popular.json $TEST/pope_adversarial.json >"$OUT/$name.pope.scores.ndjson"
}

title "1. Questions: 300 pictures with 4 questions each to learn from, 200 other pictures to test on"
make prompts.ndjson vpref import llava $PREF/llava_conversations.json --image-root $PREF/images --turns 4
make test.pope.ndjson vpref import pope $TEST/pope_random.json $TEST/pope_popular.json $TEST/pope_adversarial.json --image-root $TEST/images
for set in short:"Describe the image." long:"Describe the image in detail."; do
  node examples/caption-prompts.mjs $TEST/captions.jsonl $TEST/images "${set#*:}" >"$OUT/test.${set%%:*}.ndjson"
done

title "2. Before: what the model says now"
answers before

title "3. SeVa: the answer to the picture is preferred to the answer to its noisy copy; nobody labels anything"
make views.ndjson vpref augment --op diffusion:step=500 --seed "$SEED" "$OUT/prompts.ndjson"
make sampled.ndjson vpref sample --model $MODEL --views all --max-new-tokens 64 "$OUT/views.ndjson"
make pairs.ndjson vpref pair --rule seva --summary "$OUT/pairs.summary.ndjson" "$OUT/sampled.ndjson"
make pairs.ref.ndjson vpref precompute-ref --model $MODEL "$OUT/pairs.ndjson"
# Held-out pairs of other images, made in the same way: their curves show whether training generalises.
make heldout.views.ndjson vpref augment --op diffusion:step=500 --seed "$SEED" "$OUT/test.short.ndjson"
make heldout.sampled.ndjson vpref sample --model $MODEL --views all --max-new-tokens 64 "$OUT/heldout.views.ndjson"
make heldout.ndjson vpref pair --rule seva "$OUT/heldout.sampled.ndjson"
make heldout.ref.ndjson vpref precompute-ref --model $MODEL "$OUT/heldout.ndjson"
head -n 6 "$OUT/test.long.ndjson" >"$OUT/watched.ndjson"
train seva pairs.ref.ndjson --eval "$OUT/heldout.ref.ndjson" --eval-every 6 --sample-every 14 --sample-prompts "$OUT/watched.ndjson" --lora-r 64 --lora-alpha 128 --lr 5e-5 --batch-size 16 --warmup-ratio 0.05
answers seva seva

title "4. Judged: four sampled answers, graded on five metrics; here the judge is the truth about the pictures"
make judged.prompts.ndjson vpref import llava $PREF/llava_conversations.json --image-root $PREF/images --turns 4 --limit "$JUDGED"
make four.ndjson vpref sample --model $MODEL -n 4 --temperature 0.9 --max-new-tokens 64 --seed "$SEED" "$OUT/judged.prompts.ndjson"
make graded.ndjson vpref annotate --judge "exec:node examples/truth-judge.mjs $PREF" --guide helpsteer --no-cache --summary "$OUT/graded.summary.ndjson" "$OUT/four.ndjson"
make judged.ndjson vpref pair --rule score --margin 2 --seed "$SEED" --summary "$OUT/judged.pair.summary.ndjson" "$OUT/graded.ndjson"
make judged.ref.ndjson vpref precompute-ref --model $MODEL "$OUT/judged.ndjson"
train judged judged.ref.ndjson --lora-r 64 --lora-alpha 128 --lr 1e-4 --batch-size 16 --warmup-ratio 0.05
answers judged judged

title "5. What changed"
node examples/demo-table.mjs "$OUT" before seva judged
echo
echo "  \$ vpref report ... -o $OUT/report.html"
rm -f "$OUT/report.html"
vpref report --title "SeVa and judged preferences on tiny-llava" "$OUT"/{seva,judged}.{metrics,summary}.ndjson "$OUT/seva/samples.ndjson" "$OUT"/{before,seva,judged}.{short,long,pope}.scores.ndjson \
  "$OUT"/{pairs,graded,judged.pair}.summary.ndjson "$OUT"/{sampled,pairs,four,graded,judged}.ndjson -o "$OUT/report.html"
echo
echo "Curves, scores and every pair to look at: ${bold}$(realpath "$OUT")/report.html${plain}"
