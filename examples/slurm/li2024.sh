#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Four responses per prompt, graded by a rate-limited judge, then DPO, as a chain of jobs: li2024.sh MODEL_DIR LRV.json IMAGE_DIR OUT_DIR
# GEMINI_API_KEY must be set where the annotate job runs. One job grades everything, because the rate limits are per account.
#   SCIGRAPHQA=FILE.json FIGURES=IMAGE_DIR: 2,522 rows of SciGraphQA besides 2,562 of LRV, as in the paper; required unless FORMAT names other data
#   RPM=150 requests per minute   MAX_COST=50 dollars   JUDGE=gemini:gemini-2.5-pro   PAIR='--preset li2024-dpo'
#   TASKS=16 RANKS=1 CPUS=8 GPU='--gres=gpu' FORMAT=lrv IMPORT SAMPLE_FLAGS TRAIN_FLAGS: as in seva.sh
set -euo pipefail
. "$(dirname "$0")/chain.bash"
if [ -z "${FORMAT:-}" ]; then
  : "${SCIGRAPHQA:?the SciGraphQA file is not given}" "${FIGURES:?the folder of its pictures is not given}"
  export IMPORT=${IMPORT:---limit 2562} SCIGRAPHQA FIGURES
fi
export PRESET=li2024-dpo FORMAT=${FORMAT:-lrv} IMPORT=${IMPORT:-} PAIR=${PAIR:---preset li2024-dpo}
export JUDGE=${JUDGE:-gemini:gemini-2.5-pro} RPM=${RPM:-150} MAX_COST=${MAX_COST:-50}

prompts=$(submit --job-name=prompts --time=02:00:00 <<'JOB'
#!/bin/bash
set -euo pipefail
[ -e "$OUT/prompts.ndjson" ] && exit
# 3: finished, but rows with a missing image were skipped.
vpref import "$FORMAT" "$DATA" $IMPORT --image-root "$IMAGES" --check-images --on-error skip -o "$OUT/prompts.first.ndjson" || [ $? -eq 3 ]
if [ -n "${SCIGRAPHQA:-}" ]; then
  vpref import scigraphqa "$SCIGRAPHQA" --limit 2522 --image-root "$FIGURES" --check-images --on-error skip -o "$OUT/prompts.second.ndjson" || [ $? -eq 3 ]
  cat "$OUT/prompts.second.ndjson" >>"$OUT/prompts.first.ndjson"
fi
mv "$OUT/prompts.first.ndjson" "$OUT/prompts.ndjson"
JOB
)
sampled=$(IN="$OUT/prompts.ndjson" OUT="$OUT/sampled" submit --dependency="afterok:$prompts" "$(gpus 1)" --array="0-$((tasks - 1))" "$here/sample-array.sbatch")
# Hours of waiting need one core and no GPU. At its time limit the job is requeued, and finished grades are kept.
graded=$(submit --dependency="afterok:$sampled" --job-name=annotate --cpus-per-task=1 --time=24:00:00 --requeue --signal=B:USR1@120 <<'JOB'
#!/bin/bash
set -euo pipefail
[ -e "$OUT/graded.ndjson" ] && exit
cat "$OUT"/sampled.*.ndjson >"$OUT/sampled.ndjson"
# In the background, because the shell must handle the exit status (3: some calls failed and can be retried) and forward the signal.
vpref annotate --judge "$JUDGE" --guide helpsteer --rpm "$RPM" --max-cost "$MAX_COST" --resume --requeue "$OUT/sampled.ndjson" -o "$OUT/graded.ndjson" &
trap 'kill -USR1 $!' USR1
status=0
wait $! || status=$?
if [ $status -gt 128 ]; then status=0; wait $! || status=$?; fi
[ $status -eq 3 ] || exit $status
JOB
)
pairs=$(submit --dependency="afterok:$graded" "$(gpus 1)" --job-name=pairs --time=04:00:00 --requeue --signal=B:USR1@120 <<'JOB'
#!/bin/bash
set -euo pipefail
[ -e "$OUT/pairs.ndjson" ] && exit
vpref pair $PAIR "$OUT/graded.ndjson" -o "$OUT/unscored.ndjson"
exec vpref precompute-ref --model "$MODEL" --preset "$PRESET" --resume --requeue "$OUT/unscored.ndjson" -o "$OUT/pairs.ndjson"
JOB
)
trained=$(PAIRS="$OUT/pairs.ndjson" OUT="$OUT/adapter" submit --dependency="afterok:$pairs" "$(gpus "$ranks")" --ntasks="$ranks" "$here/train.sbatch")
echo "prompts $prompts, sampling $sampled, annotate $graded, pairs $pairs, training $trained; logs in $logs"
