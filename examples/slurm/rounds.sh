#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Rounds of alignment as a chain of jobs, one round per job (examples/make/rounds.mk): rounds.sh MODEL_DIR DATA.json IMAGE_DIR OUT_DIR
# A round that fails its gate ends the chain, or with ON_WORSE=back the next one starts from the best. Rerun this script to resume.
#   ROUNDS=3   RANKS=1 training GPUs of one node   CPUS=8 cores   GPU='--gres=gpu' (GPU='' without)   MPI=pmix
#   POPE POPE_IMAGES CAPTIONS: held-out questions   JUDGE GUIDE GATE PAIR TRAIN LORA LR LR_2 ...: as in rounds.mk
set -euo pipefail
. "$(dirname "$0")/chain.bash"
export DIR=$OUT RULES=$here/../make/rounds.mk ROUNDS=${ROUNDS:-3}
if [ "$ranks" -gt 1 ]; then export LAUNCH="srun --mpi=${MPI:-pmix} --kill-on-bad-exit=1"; fi
after=()
for round in $(seq 1 "$ROUNDS"); do
  target=$OUT/round-$round.best
  if [ "$round" = "$ROUNDS" ]; then target=$OUT/report.html; fi
  job=$(TARGET=$target submit "${after[@]}" "$(gpus "$ranks")" --ntasks="$ranks" --job-name="round-$round" --time=24:00:00 --requeue --signal=B:USR1@300 <<'JOB'
#!/bin/bash
set -euo pipefail
# At the time limit make forwards TERM, running commands save, and the job is requeued.
make -f "$RULES" "$TARGET" &
trap 'kill -TERM $!; wait $! || true; exec scontrol requeue "$SLURM_JOB_ID"' USR1
wait $!
JOB
)
  after=(--dependency="afterok:$job")
  echo "round $round: job $job"
done
echo "logs in $logs"
