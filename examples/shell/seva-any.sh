#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# SeVa on any vision-language family: seva-any.sh MODEL_DIR QUESTIONS.json IMAGE_DIR OUT_DIR [train flags...]
# QUESTIONS are LLaVA conversations. STEP: diffusion step of the distorted images (500). PIXELS: --max-pixels for the Qwen families.
set -euo pipefail
[ $# -ge 4 ] || { sed -n 3,4p "$0" >&2; exit 2; }
model=$1 data=$2 images=$3 out=$4
shift 4
limit=()
[ -z "${PIXELS:-}" ] || limit=(--max-pixels "$PIXELS")
mkdir -p "$out"
# 3: finished, but questions with a missing image were skipped.
{ vpref import llava "$data" --image-root "$images" --turns all --check-images --on-error skip || [ $? -eq 3 ]; } \
| vpref augment --op diffusion:step="${STEP:-500}" \
| vpref sample --model "$model" --views all --max-new-tokens 128 "${limit[@]}" \
| vpref pair --rule seva --summary "$out/pair.summary.ndjson" \
| vpref precompute-ref --model "$model" -o "$out/pairs.ndjson" --resume
vpref train "$out/pairs.ndjson" --model "$model" --summary "$out/summary.ndjson" -o "$out/adapter" "$@" > "$out/metrics.ndjson"
vpref report "$out/metrics.ndjson" "$out/summary.ndjson" "$out/pair.summary.ndjson" "$out/pairs.ndjson" -o "$out/report.html"
