#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Writes every export format from the fixture records and reads each file with its target program.
# usage: scripts/checks/exports.sh [PYTHON]   (a Python with trl, transformers, datasets, torch, Pillow)
set -euo pipefail
cd "$(dirname "$0")/../.."
python=${1:-python3}
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
vpref="$PWD/bin/run.js"
model="$PWD/fixtures/demo/tiny-llava"
cd fixtures
node "$vpref" pair -q --rule given records/pairs.ndjson |
  jq -c '. + {ref_chosen_logps: -7, ref_rejected_logps: (-8.5 + (.id | length))}' > "$folder/pairs.ndjson"
node "$vpref" pair -q --rule kto "$folder/pairs.ndjson" > "$folder/kto.ndjson"
jq -c 'del(.images)' "$folder/pairs.ndjson" > "$folder/text.ndjson"
node "$vpref" export trl "$folder/pairs.ndjson" -o "$folder/trl.jsonl"
node "$vpref" export trl "$folder/text.ndjson" -o "$folder/trl-text.jsonl"
node "$vpref" export trl "$folder/kto.ndjson" -o "$folder/trl-kto.jsonl"
node "$vpref" export llama-factory "$folder/pairs.ndjson" -o "$folder/ranking.jsonl" --dataset-info "$folder/dataset_info.json"
node "$vpref" export llama-factory "$folder/kto.ndjson" -o "$folder/kto.jsonl" --dataset-info "$folder/dataset_info.json"
node "$vpref" export ms-swift "$folder/pairs.ndjson" -o "$folder/ms-swift.jsonl"
node "$vpref" export llava "$folder/pairs.ndjson" -o "$folder/llava.json"
node "$vpref" export seva "$folder/pairs.ndjson" -o "$folder/seva.json"
"$python" "$OLDPWD/scripts/checks/read_exports.py" "$folder" "$model"
