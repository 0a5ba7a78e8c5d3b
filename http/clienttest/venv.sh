#!/usr/bin/env bash
# venv.sh NAME REQUIREMENT…
# Makes bin/venv/NAME, a Python environment with these packages.
set -euo pipefail
root=$(cd "$(dirname "$0")/../.." && pwd)
venv=$root/bin/venv/$1
if ! [ -x "$venv/bin/pip" ]; then
  python3 -m venv "$venv"
fi
"$venv/bin/pip" install --quiet --disable-pip-version-check "${@:2}"
