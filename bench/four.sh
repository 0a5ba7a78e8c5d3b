#!/usr/bin/env bash
# Mini-SGLang's online benchmark, and what goes with it, of a model that several GPUs
# share: Qwen3-32B on four H200s unless told otherwise.
#
#	bench/four.sh [-n RANKS] [-m MODEL] [-d DEVICE] [-p PROGRAM] [-t TRACES] [-o DIR] [-s SECONDS]
#	              [-q SEQUENCES] [-r REQUESTS] [STAGE …]
#
# A stage takes at most eight minutes and leaves DIR/STAGE.ok when it is done, so the
# script goes on where it stopped: call it until it says that all is done. One call
# takes SECONDS (480) and begins no stage in its second half, for which it might not
# last. Named stages alone are run, done or not. -n 2 is the same on two GPUs, -d cpu -m builtin -n 2 tries the script
# anywhere, -d sim:h200 the figures that are foretold.
#
#	start      what there is, and how long until the first token
#	alike      greedy replies of the built-in model, shared and not: the same
#	sums       what GPUs take to add up, beside NCCL
#	offline    256 sequences (-q) of 100 to 1,024 tokens in and out
#	stream     one sequence, 512 tokens
#	offline-no-overlap
#	online-X   the first 500 requests (-r) of Azure's conversation trace, its times by X
#	prefixes   the first 100 requests of Mooncake's conversation trace of up to 16,384 tokens in
#	report     all of it as a page, and the scales as one report
set -uo pipefail
ranks=4 model=qwen3-32b device=cuda program=bin/troupe-cuda traces=../shared/traces dir= seconds=480 sequences=256 requests=500
while getopts n:m:d:p:t:o:s:q:r: flag; do
  case $flag in
  n) ranks=$OPTARG ;;
  m) model=$OPTARG ;;
  d) device=$OPTARG ;;
  p) program=$OPTARG ;;
  t) traces=$OPTARG ;;
  o) dir=$OPTARG ;;
  s) seconds=$OPTARG ;;
  q) sequences=$OPTARG ;;
  r) requests=$OPTARG ;;
  *) exit 2 ;;
  esac
done
shift $((OPTIND - 1))
dir=${dir:-four-$model-tp$ranks}
scales=(0.4 0.5 0.6 0.7 0.8 1.6 0.2)
most=480 # seconds of a stage that is named

name=${model//\//-}-tp$ranks
on=(--device "$device" --tp "$ranks")
with=("${on[@]}" -m "$model")
[[ $model == builtin ]] || with+=(--dummy-weights)
mkdir -p "$dir"

start() {
  "$program" doctor
  "$program" bench offline "${with[@]}" --num-seqs 1 --input-len 16 --output-len 16 --warm-up 0
}

alike() {
  [[ $device == sim:* ]] && { echo "a simulated device writes no text"; return; }
  local prompt="Tell me a story about a fox" tp
  for tp in 1 "$ranks"; do
    "$program" complete --device "$device" --tp "$tp" -t 0 -n 48 "$prompt" >"$dir/alike-$tp.txt" || return
  done
  cmp "$dir/alike-1.txt" "$dir/alike-$ranks.txt" && wc -c "$dir/alike-1.txt"
}

sums() {
  [[ $device == cuda* ]] || { echo "only GPUs are timed"; return; }
  "$program" bench sums --device "$device" --tp "$ranks"
}

offline() { "$program" bench offline "${with[@]}" --num-seqs "$sequences" --json "$dir/offline-$name.json"; }
stream() { "$program" bench offline "${with[@]}" --num-seqs 1 --input-len 16 --output-len 512 --json "$dir/stream-$name.json"; }
offline-no-overlap() { "$program" bench offline "${with[@]}" --num-seqs "$sequences" --overlap=false --json "$dir/offline-no-overlap-$name.json"; }

online() { # scale
  "$program" bench online "${with[@]}" --trace-file "$traces/AzureLLMInferenceTrace_conv.csv" --num-requests "$requests" \
    --scale "$1" --max-seq-len "$length" --json "$dir/online-$1-$name.json"
}

prefixes() { # the first 100 whose prompts are no longer than 16,384 tokens
  awk -F'[:,]' '$4 <= 16384 && n++ < 100' "$traces/mooncake_conversation_trace.jsonl" >"$dir/mooncake.jsonl" || return
  "$program" bench online "${with[@]}" --trace-file "$dir/mooncake.jsonl" --num-requests 100 \
    --max-seq-len "$length" --json "$dir/prefixes-$name.json"
}

report() {
  "$program" bench report "$dir"/*-"$name".json --html "$dir/$name.html" &&
    "$program" bench report "$dir"/online-*-"$name".json --json "$dir/online-$name.json" --html "$dir/online-$name.html"
}

# The built-in model has fewer positions than the traces ask for: what is longer is
# refused, and told.
length=18432
[[ $model == builtin ]] && length=2048

stages=(start alike sums offline stream offline-no-overlap)
for x in "${scales[@]}"; do stages+=("online-$x"); done
stages+=(prefixes report)

run() {
  local began=$SECONDS command=("$1")
  [[ $1 == online-* ]] && command=(online "${1#online-}")
  echo "== $1, $(date -u +%FT%TZ)"
  # In a shell of its own, which timeout can end with all it began.
  export -f start alike sums offline stream offline-no-overlap online prefixes report
  timeout -k 10 "$2" bash -c "$(declare -p on with program dir name traces requests sequences length device ranks); $(printf '%q ' "${command[@]}")" \
    >"$dir/$1.txt" 2>&1
  local rc=$?
  tail -25 "$dir/$1.txt"
  ((rc == 0)) && touch "$dir/$1.ok"
  echo "== $1: $([[ $rc == 0 ]] && echo done || echo "status $rc") after $((SECONDS - began)) s"
  return $rc
}

if (($# > 0)); then
  failed=0
  for s in "$@"; do run "$s" "$most" || failed=1; done
  exit $failed
fi
failed=()
for s in "${stages[@]}"; do
  [[ -e $dir/$s.ok ]] && continue
  if ((SECONDS > seconds / 2)); then
    echo "== time is up before $s: call again"
    exit 3
  fi
  run "$s" $((seconds - SECONDS)) || failed+=("$s")
done
if ((${#failed[@]} > 0)); then
  echo "== not done: ${failed[*]}"
  exit 1
fi
echo "== all done: $dir"
