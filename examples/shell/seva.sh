#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# SeVa on LLaVA-1.5-7B as in the paper: seva.sh MODEL_DIR LLAVA_665K.json IMAGE_DIR OUT_DIR   (PRESET=seva-13b for the 13B model)
set -euo pipefail
[ $# -eq 4 ] || { sed -n 3p "$0" >&2; exit 2; }
model=$1 data=$2 images=$3 out=$4 preset=${PRESET:-seva-7b}
# The paper's noise step: 500 for the 13B model, 800 for the 7B model.
case $preset in seva-13b) step=500 ;; *) step=800 ;; esac
mkdir -p "$out"
# 3: finished, but questions with a missing image were skipped.
{ vpref import llava "$data" --source textvqa,ocr_vqa --turns 2 --limit textvqa=8000 --limit ocr_vqa=8000 --image-root "$images" --check-images --on-error skip || [ $? -eq 3 ]; } \
| vpref augment --op diffusion:step="$step" \
| vpref sample --model "$model" --preset "$preset" \
| vpref pair --preset "$preset" --summary "$out/pair.summary.ndjson" \
| vpref precompute-ref --model "$model" --preset "$preset" -o "$out/pairs.ndjson"
vpref train "$out/pairs.ndjson" --model "$model" --preset "$preset" --save-every 20 --summary "$out/summary.ndjson" -o "$out/adapter" > "$out/metrics.ndjson"
vpref report "$out/metrics.ndjson" "$out/summary.ndjson" "$out/pair.summary.ndjson" "$out/pairs.ndjson" -o "$out/report.html"
