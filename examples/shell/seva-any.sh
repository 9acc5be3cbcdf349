#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# SeVa on any vision-language family: seva-any.sh MODEL_DIR QUESTIONS IMAGE_DIR OUT_DIR [train flags...]; after an interruption, the same command resumes
# QUESTIONS: LLaVA conversations (.json) or records (.ndjson), their images below IMAGE_DIR. LIMIT: number of questions (all). STEP: diffusion step of the distorted images (500). PIXELS: --max-pixels for the Qwen families.
set -euo pipefail
[ $# -ge 4 ] || { sed -n 3,4p "$0" >&2; exit 2; }
model=$1 data=$2 images=$3 out=$4
shift 4
questions=(import llava "$data" --turns all) pixels=()
case $data in *.ndjson) questions=(import records "$data") ;; esac
[ -z "${LIMIT:-}" ] || questions+=(--limit "$LIMIT")
[ -z "${PIXELS:-}" ] || pixels=(--max-pixels "$PIXELS")
mkdir -p "$out"
# 3: finished, but questions with a missing image were skipped.
{ vpref "${questions[@]}" --image-root "$images" --check-images --on-error skip || [ $? -eq 3 ]; } \
| vpref augment --op diffusion:step="${STEP:-500}" \
| vpref sample --model "$model" --views all --max-new-tokens 128 "${pixels[@]}" -o "$out/sampled.ndjson" --resume
vpref pair --rule seva --summary "$out/pair.summary.ndjson" "$out/sampled.ndjson" \
| vpref precompute-ref --model "$model" -o "$out/pairs.ndjson" --resume
# A new run starts new metrics; a resumed one repeats the steps after its last checkpoint.
[ -e "$out/adapter" ] || rm -f "$out/metrics.ndjson" "$out/summary.ndjson"
vpref train "$out/pairs.ndjson" --model "$model" --summary "$out/summary.ndjson" -o "$out/adapter" --save-every 20 --resume "$@" >> "$out/metrics.ndjson"
vpref report "$out/metrics.ndjson" "$out/summary.ndjson" "$out/pair.summary.ndjson" "$out/sampled.ndjson" "$out/pairs.ndjson" -o "$out/report.html"
