#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# SeVa on LLaVA-1.5-7B as the paper has it: seva.sh MODEL_DIR LLAVA_665K.json IMAGE_DIR OUT_DIR
set -euo pipefail
model=$1 data=$2 images=$3 out=$4
mkdir -p "$out"
vpref import llava "$data" --source textvqa,ocr_vqa --turns 2 --limit textvqa=8000 --limit ocr_vqa=8000 --image-root "$images" --check-images --on-error skip \
| vpref augment --op diffusion:step=800 \
| vpref sample --model "$model" --preset seva-7b \
| vpref pair --preset seva-7b \
| vpref precompute-ref --model "$model" --preset seva-7b -o "$out/pairs.ndjson"
vpref train "$out/pairs.ndjson" --model "$model" --preset seva-7b --save-every 20 -o "$out/adapter" > "$out/metrics.ndjson"
vpref report "$out/metrics.ndjson" "$out/pairs.ndjson" -o "$out/report.html"
