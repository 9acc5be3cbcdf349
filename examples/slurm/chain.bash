# SPDX-License-Identifier: Apache-2.0
# What seva.sh and li2024.sh share: MODEL_DIR DATA.json IMAGE_DIR OUT_DIR and the settings of both, and how a job of the chain is submitted.
# shellcheck shell=bash disable=SC2034 # here, tasks and ranks are read where this is sourced
[ $# -eq 4 ] || { sed -n 3p "$0" >&2; exit 2; }
export MODEL=$1 DATA=$2 IMAGES=$3 OUT=$4
here=$(cd "$(dirname "$0")" && pwd)
tasks=${TASKS:-16} ranks=${RANKS:-1} cpus=${CPUS:-8} gpu=${GPU---gres=gpu}
logs=$OUT/logs
mkdir -p "$logs"
gpus() { if [ -n "$gpu" ]; then echo "$gpu:$1"; else echo --gres=none; fi; }
submit() { sbatch --parsable --kill-on-invalid-dep=yes --output="$logs/%x.%j.log" --cpus-per-task="$cpus" "$@"; }
