#!/usr/bin/env bash
# with.sh [FLAG…] -- COMMAND…
# Runs a command while the built program serves beside it, with these flags.
# The command finds TROUPE_URL (without /v1) in its environment. What it leaves
# of the server's log is shown when it fails.
set -euo pipefail
root=$(cd "$(dirname "$0")/../.." && pwd)
flags=()
while [ "$1" != -- ]; do flags+=("$1"); shift; done
shift

dir=$(mktemp -d)
trap 'kill "$server" 2>/dev/null || true; rm -rf "$dir"' EXIT
(cd "$root" && go build -o "$dir/troupe" ./cmd/troupe)
mkfifo "$dir/out"
"$dir/troupe" serve --port 0 --log-level warn "${flags[@]}" >"$dir/out" 2>"$dir/log" &
server=$!
if ! read -r line <"$dir/out"; then cat "$dir/log"; exit 1; fi
url=${line##*http://}
export TROUPE_URL="http://${url%/v1}"

status=0
"$@" || status=$?
kill -INT "$server"
wait "$server" || { echo "the server ended with status $?"; status=1; }
if [ "$status" != 0 ]; then tail -n 50 "$dir/log"; fi
exit "$status"
