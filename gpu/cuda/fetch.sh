#!/usr/bin/env bash
# Puts parts of CUDA into .cuda/ at the repository's root, for machines without the
# CUDA toolkit, from NVIDIA's packages on PyPI:
#
#	fetch.sh headers     what the tag "cuda" needs to build: 6 MB, a few seconds
#	fetch.sh compiler    NVRTC, which tests that compile kernels open: 90 MB
#
# What is there already stays. Nothing here needs a GPU. Programs that run models
# on one open cuBLASLt, too, which is not fetched.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../.." && pwd)/.cuda
python=${PYTHON:-python3}
nvrtc=nvidia-cuda-nvrtc==13.0.88

headers() {
  rm -rf "$root/include"
  "$python" "$here/headers.py" "$root" "$@"
}

compiler() {
  local new
  new=$(mktemp -d "$root/new.XXXXXX")
  "$python" -m pip download --quiet --no-deps --no-cache-dir --only-binary=:all: \
    --platform manylinux2014_x86_64 --platform manylinux_2_12_x86_64 --dest "$new" "$@"
  "$python" -m zipfile -e "$new"/*.whl "$new"
  mkdir -p "$root/lib"
  mv "$new"/nvidia/cu13/lib/libnvrtc{,-builtins}.so.* "$root/lib/"
  rm -rf "$new"
}

case ${1:-} in
headers) packages=(nvidia-cuda-runtime==13.0.96 "$nvrtc" nvidia-cuda-crt==13.0.88 nvidia-cuda-cccl==13.0.85 nvidia-cublas==13.0.2.14) ;;
compiler) packages=("$nvrtc") ;;
*)
  echo "usage: $0 headers|compiler" >&2
  exit 2
  ;;
esac

mkdir -p "$root"
exec 9>"$root/lock"
flock 9
stamp=$root/$1.stamp
[[ -f $stamp && $(<"$stamp") == "${packages[*]}" ]] && exit 0
rm -f "$stamp"
"$1" "${packages[@]}"
echo "${packages[*]}" >"$stamp"
