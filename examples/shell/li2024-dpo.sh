#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Four responses per prompt, graded by Gemini on five metrics, then DPO: li2024-dpo.sh MODEL_DIR LRV.json LRV_IMAGES SCIGRAPHQA.json FIGURES OUT_DIR
# 2,562 rows of LRV and 2,522 of SciGraphQA, as in the paper. GEMINI_API_KEY must be set, or JUDGE name another judge (JUDGE=exec:CMD). To see the cost first, add --dry-run to the annotate line.
set -euo pipefail
[ $# -eq 6 ] || { sed -n 3p "$0" >&2; exit 2; }
model=$1 lrv=$2 images=$3 scigraphqa=$4 figures=$5 out=$6 judge=${JUDGE:-gemini:gemini-2.5-pro}
mkdir -p "$out"
# 3: finished, but rows failed and were skipped.
{ vpref import lrv "$lrv" --limit 2562 --image-root "$images" --check-images --on-error skip || [ $? -eq 3 ]
  vpref import scigraphqa "$scigraphqa" --limit 2522 --image-root "$figures" --check-images --on-error skip || [ $? -eq 3 ]; } \
| vpref sample --model "$model" --preset li2024-dpo -o "$out/sampled.ndjson"
vpref annotate --judge "$judge" --guide helpsteer --rpm 150 --max-cost 50 --summary "$out/judge.summary.ndjson" "$out/sampled.ndjson" -o "$out/graded.ndjson" --resume || [ $? -eq 3 ]
vpref pair --preset li2024-dpo --summary "$out/pair.summary.ndjson" "$out/graded.ndjson" | vpref precompute-ref --model "$model" --preset li2024-dpo -o "$out/pairs.ndjson"
vpref train "$out/pairs.ndjson" --model "$model" --preset li2024-dpo --save-every 20 --summary "$out/summary.ndjson" -o "$out/adapter" > "$out/metrics.ndjson"
vpref report "$out/metrics.ndjson" "$out/summary.ndjson" "$out"/{judge,pair}.summary.ndjson "$out/pairs.ndjson" -o "$out/report.html"
