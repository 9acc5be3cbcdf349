#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Four answers a prompt, graded by Gemini on five metrics, then DPO: li2024-dpo.sh MODEL_DIR LRV.json IMAGE_DIR OUT_DIR
# GEMINI_API_KEY must be set. Look at the cost first: add --dry-run to the annotate line.
set -euo pipefail
model=$1 data=$2 images=$3 out=$4
mkdir -p "$out"
vpref import lrv "$data" --image-root "$images" --check-images --on-error skip \
| vpref sample --model "$model" --preset li2024-dpo -o "$out/sampled.ndjson"
vpref annotate --judge gemini:gemini-2.5-pro --guide helpsteer --rpm 150 --max-cost 50 "$out/sampled.ndjson" -o "$out/graded.ndjson" --resume || [ $? -eq 3 ]
vpref pair --preset li2024-dpo "$out/graded.ndjson" | vpref precompute-ref --model "$model" --preset li2024-dpo -o "$out/pairs.ndjson"
vpref train "$out/pairs.ndjson" --model "$model" --preset li2024-dpo --save-every 20 -o "$out/adapter" > "$out/metrics.ndjson"
