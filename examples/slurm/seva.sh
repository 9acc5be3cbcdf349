#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# SeVa as a chain of jobs, each after the success of the previous one: seva.sh MODEL_DIR LLAVA_665K.json IMAGE_DIR OUT_DIR
# Prints the jobs' numbers. Every job may be stopped, requeued, or submitted again by rerunning this script: finished work is not repeated.
#   TASKS=16 sampling tasks   RANKS=1 training GPUs of one node   CPUS=8 cores per task   GPU='--gres=gpu' (GPU='' without)   PRESET=seva-7b
#   IMPORT AUGMENT SAMPLE_FLAGS TRAIN_FLAGS: flags of the stages, for other data or a small trial
set -euo pipefail
. "$(dirname "$0")/chain.bash"
export PRESET=${PRESET:-seva-7b} FORMAT=${FORMAT:-llava}
# The paper's noise step: 500 for the 13B model, 800 for the 7B model.
case $PRESET in seva-13b) step=500 ;; *) step=800 ;; esac
export IMPORT=${IMPORT:---source textvqa,ocr_vqa --turns 2 --limit textvqa=8000 --limit ocr_vqa=8000} AUGMENT=${AUGMENT:---op diffusion:step=$step}

questions=$(submit --job-name=questions --time=02:00:00 <<'JOB'
#!/bin/bash
set -euo pipefail
[ -e "$OUT/views.ndjson" ] && exit
# 3: finished, but questions with a missing image were skipped.
{ vpref import "$FORMAT" "$DATA" $IMPORT --image-root "$IMAGES" --check-images --on-error skip || [ $? -eq 3 ]; } |
  vpref augment $AUGMENT -o "$OUT/views.ndjson"
JOB
)
sampled=$(IN="$OUT/views.ndjson" OUT="$OUT/sampled" submit --dependency="afterok:$questions" "$(gpus 1)" --array="0-$((tasks - 1))" "$here/sample-array.sbatch")
pairs=$(submit --dependency="afterok:$sampled" "$(gpus 1)" --job-name=pairs --time=04:00:00 --requeue --signal=B:USR1@120 <<'JOB'
#!/bin/bash
set -euo pipefail
[ -e "$OUT/pairs.ndjson" ] && exit
cat "$OUT"/sampled.*.ndjson | vpref pair --preset "$PRESET" -o "$OUT/unscored.ndjson"
exec vpref precompute-ref --model "$MODEL" --preset "$PRESET" --resume --requeue "$OUT/unscored.ndjson" -o "$OUT/pairs.ndjson"
JOB
)
trained=$(PAIRS="$OUT/pairs.ndjson" OUT="$OUT/adapter" submit --dependency="afterok:$pairs" "$(gpus "$ranks")" --ntasks="$ranks" "$here/train.sbatch")
report=$(submit --dependency="afterok:$trained" --job-name=report --time=00:30:00 <<'JOB'
#!/bin/bash
exec vpref report "$OUT/adapter.metrics.ndjson" "$OUT/pairs.ndjson" -o "$OUT/report.html"
JOB
)
echo "questions $questions, sampling $sampled, pairs $pairs, training $trained, report $report; logs in $logs"
