#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Rounds of alignment (examples/make/rounds.mk) on the demo's model: three rounds killed repeatedly with SIGKILL, all processes together, give the
# bytes of an uninterrupted run; a bad round (learning rate x 30) is stopped by the gate, and with ON_WORSE=back the next one starts from the best.
# usage: scripts/checks/rounds.sh [KILLS [QUESTIONS [SEED]]]   (20, 160 and 1 unless given; after make build)
set -euo pipefail
kills=${1:-20} questions=${2:-160} seed=${3:-1}
root="$(cd "$(dirname "$0")/../.." && pwd)"
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
mkdir "$folder/bin"
printf '#!/bin/bash\nexec node %q/bin/run.js "$@"\n' "$root" >"$folder/bin/vpref"
chmod +x "$folder/bin/vpref"
export PATH=$folder/bin:$PATH
cd "$root"
# One POPE file and a part of the captions: this checks the graph, not the scores.
head -n 60 fixtures/demo/data/test/captions.jsonl >"$folder/captions.jsonl"
rounds=(make -s -f examples/make/rounds.mk ROUNDS=3 IMPORT="--turns 4 --limit $questions" CAPTIONS="$folder/captions.jsonl"
  POPE=fixtures/demo/data/test/pope_random.json GATE="--require 'pope.score >= -8 from best' --require 'hallucination.f1 >= -0.05 from best'")
# The files of a round, except those with times: metrics, summaries and the report.
sums() {
  (cd "$1" && find . -type f \( -name '*.ndjson' -o -name '*.best' -o -name '*.from' -o -name adapter_model.safetensors -o -name adapter_config.json \) \
    ! -name '.*' ! -name '*.metrics.ndjson' ! -name '*.summary.ndjson' ! -path '*/checkpoint-*' -print0 | sort -z | xargs -0 sha256sum)
}
failed=0
started=$SECONDS
"${rounds[@]}" DIR="$folder/straight" >/dev/null 2>"$folder/straight.log" || { tail -n 5 "$folder/straight.log"; exit 1; }
straight=$((SECONDS - started))
sums "$folder/straight" >"$folder/straight.sums"
echo "straight: 3 rounds, $(wc -l <"$folder/straight/round-1.pairs.ndjson") pairs in the first, best $(cat "$folder/straight/round-3.best"), $(wc -l <"$folder/straight.sums") files"

# Killed after random times, each a fraction of an uninterrupted run's.
RANDOM=$seed
done_kills=0 places=
while :; do
  setsid "${rounds[@]}" DIR="$folder/killed" >/dev/null 2>>"$folder/killed.log" & run=$!
  if [ $done_kills -lt "$kills" ]; then
    sleep "$(awk -v r=$RANDOM -v all=$straight -v kills="$kills" 'BEGIN { print 0.5 + r / 32768 * 2.2 * all / kills }')"
    if kill -0 $run 2>/dev/null; then
      # shellcheck disable=SC2012 # our own file names
      places+=" $(ls -t "$folder/killed" 2>/dev/null | head -n 1)"
      kill -9 -- -$run
      done_kills=$((done_kills + 1))
      wait $run 2>/dev/null || true
      continue
    fi
  fi
  wait $run || { echo "the resumed run failed: $(tail -n 3 "$folder/killed.log")"; exit 1; }
  # It ended before the last kill: further kills start with the last round deleted.
  if [ $done_kills -lt "$kills" ]; then
    sums "$folder/killed" | cmp -s - "$folder/straight.sums" || { echo "OTHER BYTES after $done_kills kills"; failed=1; }
    rm -rf "$folder/killed/report.html" "$folder"/killed/round-[23].*
    continue
  fi
  break
done
sums "$folder/killed" >"$folder/killed.sums"
if cmp -s "$folder/straight.sums" "$folder/killed.sums"; then
  echo "killed: the bytes of the straight run after $done_kills kills, in the making of:$places"
else
  echo "OTHER BYTES after $done_kills kills: $(diff "$folder/straight.sums" "$folder/killed.sums" | awk '/^>/ { print $3 }' | tr '\n' ' ')"
  failed=1
fi

# A bad second round: 30 times the learning rate.
gate() { grep -h 'requirement failed' "$1" | sed 's/^/  /' | head -n 2; }
bad=("${rounds[@]}" LR=5e-5 LR_2=1.5e-3)
cp -a "$folder/straight" "$folder/bad"
rm -rf "$folder"/bad/round-[23].* "$folder/bad/report.html"
status=0
"${bad[@]}" DIR="$folder/bad" >/dev/null 2>"$folder/stopped.log" || status=$?
if [ $status -ne 0 ] && grep -q 'round 2 is worse than round 1' "$folder/stopped.log" && [ ! -e "$folder/bad/round-3.from" ]; then
  echo "stopped: a second round at 30 times the learning rate fails the gate, and make ends"
  gate "$folder/stopped.log"
else
  echo "NOT STOPPED: $(tail -n 3 "$folder/stopped.log")"
  failed=1
fi
"${bad[@]}" ON_WORSE=back DIR="$folder/bad" >/dev/null 2>"$folder/back.log" || { echo "ON_WORSE=back failed: $(tail -n 3 "$folder/back.log")"; failed=1; }
if [ "$(cat "$folder/bad/round-2.best" "$folder/bad/round-3.from" 2>/dev/null | tr '\n' ' ')" = "1 1 " ]; then
  echo "rolled back: round 3 starts from round 1; the best after it is $(cat "$folder/bad/round-3.best")"
else
  echo "NOT ROLLED BACK"
  failed=1
fi
exit $failed
