#!/usr/bin/env bash
# venv.sh REQUIREMENTS
# Makes bin/venv, a Python environment with the packages of a file, once.
set -euo pipefail
root=$(cd "$(dirname "$0")/../.." && pwd)
venv=$root/bin/venv
if ! [ -x "$venv/bin/pip" ]; then
  python3 -m venv "$venv"
fi
"$venv/bin/pip" install --quiet --disable-pip-version-check -r "$1"
