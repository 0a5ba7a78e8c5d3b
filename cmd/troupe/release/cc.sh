#!/usr/bin/env bash
# A C compiler whose programs start wherever glibc is at least 2.28 (Debian 10,
# RHEL 8, Ubuntu 18.10): zig's, which links with any version's symbols.
# gorgonia.org/cu names this system's directories, which are another version's.
set -euo pipefail
zig=$(cd "$(dirname "${BASH_SOURCE[0]}")/../../.." && pwd)/bin/venv/zig/bin/python
arguments=()
for a in "$@"; do
  case $a in -I/usr/include | -L/usr/*) ;; *) arguments+=("$a") ;; esac
done
exec "$zig" -m ziglang cc -target x86_64-linux-gnu.2.28 "${arguments[@]}"
