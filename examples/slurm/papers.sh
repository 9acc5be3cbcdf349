#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# The papers' matrix (examples/make/papers.mk) as job arrays, one file of a stage per task: papers.sh MODEL_DIR DATA.json IMAGE_DIR OUT_DIR
# Prompts, answers, grades, pairs and cells follow each other; then the table and the charts. Every task may be requeued; rerun this script to resume.
#   RANKS=1 training GPUs of one node per cell   AT_ONCE=16 concurrent tasks   CPUS=8 cores   GPU='--gres=gpu' (GPU='' without)   MPI=pmix
#   EXPERIMENTS SEEDS QUESTIONS_NAME IMAGES_NAME LRV LRV_IMAGES SCIGRAPHQA FIGURES JUDGE ...: as in papers.mk
set -euo pipefail
. "$(dirname "$0")/chain.bash"
export DIR=$OUT RULES=$here/../make/papers.mk
if [ "$ranks" -gt 1 ]; then export LAUNCH="srun --mpi=${MPI:-pmix} --kill-on-bad-exit=1"; fi
make -s -f "$RULES" "$DIR/settings"
after=()
# stage NAME FLAGS...: the missing files of list-NAME, as an array after the previous stage.
stage() {
  local name=$1 list=$OUT/$1.list missing=()
  shift
  make -s -f "$RULES" "list-$name" >"$list.all"
  while read -r file; do [ -z "$file" ] || [ -e "$file" ] || missing+=("$file"); done <"$list.all"
  if [ "${#missing[@]}" = 0 ]; then echo "$name: done before"; return; fi
  printf '%s\n' "${missing[@]}" >"$list"
  job=$(LIST=$list submit "${after[@]}" "$@" --job-name="$name" --array="0-$((${#missing[@]} - 1))%${AT_ONCE:-16}" --output="$logs/%x.%A.%a.log" --time=24:00:00 --requeue --signal=B:USR1@300 <<'JOB'
#!/bin/bash
set -euo pipefail
# At the time limit make forwards TERM, running commands save, and the task is requeued.
make -f "$RULES" "$(sed -n "$((SLURM_ARRAY_TASK_ID + 1))p" "$LIST")" &
trap 'kill -TERM $!; wait $! || true; exec scontrol requeue "${SLURM_ARRAY_JOB_ID}_$SLURM_ARRAY_TASK_ID"' USR1
wait $!
JOB
)
  after=(--dependency="afterok:$job")
  echo "$name: job $job, ${#missing[@]} tasks"
}
mapfile -t one < <(gpus 1)
stage prompts --gres=none
stage answers "${one[@]}"
stage graded "${one[@]}"
stage pairs "${one[@]}"
stage cells "$(gpus "$ranks")" --ntasks="$ranks"
job=$(submit "${after[@]}" --gres=none --job-name=table --time=00:30:00 <<'JOB'
#!/bin/bash
exec make -f "$RULES" all
JOB
)
echo "table: job $job; logs in $logs"
