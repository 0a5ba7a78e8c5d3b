#!/bin/bash
# Runs the benchmark commands with their defaults and keeps what they say:
#
#     bench/measure.sh DIR [cpu|sim|client|trace|online]...
#
# DIR/NAME.txt is a command and its table, DIR/NAME.json its report. Without
# parts all of them run, which takes some 12 minutes on two cores; nothing else
# should want these meanwhile. WILDCHAT names a shard of that data set where it
# cannot be downloaded.
set -euo pipefail
cd "$(dirname "$0")/.."

dir=${1:?"a directory for the results"}
shift
mkdir -p "$dir"
dir=$(cd "$dir" && pwd)
troupe=$dir/troupe
go build -buildvcs=auto -o "$troupe" ./cmd/troupe # reports name the commit
{
	date -u
	git rev-parse --short HEAD
	uptime
	"$troupe" doctor
} >"$dir/machine.txt"

# keep NAME COMMAND...: what the command says, and how long it takes.
keep() {
	local name=$1 began=$SECONDS status=0
	shift
	echo "\$ ${*/#"$troupe"/troupe}" >"$dir/$name.txt"
	"$@" >>"$dir/$name.txt" 2>"$dir/$name.err" || status=$?
	echo "$name: $((SECONDS - began)) s, status $status, load$(uptime | sed 's/.*average//')" | tee -a "$dir/machine.txt"
}

# bench NAME COMMAND...: a command of troupe bench, with its report.
bench() {
	local name=$1
	shift
	keep "$name" "$troupe" bench "$@" --json "$dir/$name.json"
}

# served NAME FLAGS...: bench simple against a server with these flags.
served() {
	local name=$1 server url=http://127.0.0.1:${PORT:-1919}
	shift
	if curl -s "$url" >/dev/null; then
		echo "$name: something listens at $url already; PORT names another port" >&2
		return 1
	fi
	"$troupe" serve --log-level warn ${PORT:+--port "$PORT"} "$@" >"$dir/$name.server" 2>&1 &
	server=$!
	until curl -sf "$url/ready" >/dev/null; do
		kill -0 $server
		sleep 0.2
	done
	bench "$name" simple ${PORT:+--url "$url"}
	kill $server
	wait $server || true
}

small=(--num-seqs 64 --input-len 16:128 --output-len 16:128)

cpu() {
	bench cpu-offline offline
	bench cpu-offline-small offline "${small[@]}" --compare overlap --repeat 5
	bench cpu-trace trace --out ""
	served cpu-simple --device cpu
	bench cpu-wildchat wildchat ${WILDCHAT:+--shard "$WILDCHAT"}
}

online() {
	bench cpu-online online
}

sim() {
	local h200=(--device sim:h200 --dummy-weights)
	bench sim-offline offline "${h200[@]}" --model qwen3-0.6b --compare overlap --repeat 3
	bench sim-trace trace "${h200[@]}" --model qwen3-0.6b --out ""
	bench sim-wildchat wildchat --device sim:h200 ${WILDCHAT:+--shard "$WILDCHAT"}
	bench sim-online online "${h200[@]}" --model qwen3-0.6b
	served sim-simple "${h200[@]}" --model qwen3-14b --max-seq-len 16384
	bench virtual virtual
}

client() {
	bench accuracy accuracy
	bench accuracy-together accuracy --together
	bench accuracy-50 accuracy --interval 20ms --tokens 250
	bench accuracy-50-together accuracy --interval 20ms --tokens 250 --together
}

trace() {
	keep trace-spans go test ./actors -run '^$' -bench Trace -count 12 -benchtime 50ms
	keep trace-cost go test ./cmd/troupe -run '^$' -bench TraceCost/http -benchtime 60x
	keep trace-cost-actors go test ./cmd/troupe -run '^$' -bench TraceCost/actors -benchtime 20x
}

for part in "${@:-cpu sim client trace online}"; do
	for one in $part; do "$one"; done
done
