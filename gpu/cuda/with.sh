#!/usr/bin/env bash
# Runs a command with CUDA on the compiler's and the loader's paths:
#
#	gpu/cuda/with.sh go build -tags cuda -o bin/ ./cmd/troupe
#
# CUDA is $CUDA_HOME, /usr/local/cuda, or else .cuda/, which fetch.sh fills.
# Where there is no driver its stub is used: what is built then runs, and says
# that there is no device.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../.." && pwd)

home=${CUDA_HOME:-/usr/local/cuda}
if [[ -e $home/include/cublasLt.h && -e $home/include/nvrtc.h ]]; then
  lib=$home/lib64
  stub=$home/lib64/stubs
else
  "$here/fetch.sh" >&2
  home=$root/.cuda lib=$root/.cuda/lib stub=$root/.cuda/stub
fi

export CGO_ENABLED=1
export CGO_CFLAGS="-O2 -I$here/include -I$home/include -I$home/include/cccl"
export CGO_LDFLAGS="-L$lib -L$stub -Wl,-rpath,/usr/local/cuda/lib64"
export LD_LIBRARY_PATH="$lib${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}"
if ! ldconfig -p 2>/dev/null | grep -q 'libcuda\.so\.1'; then
  # A toolkit's stub has no name to be loaded by; ours has.
  [[ -e $stub/libcuda.so.1 ]] && LD_LIBRARY_PATH+=":$stub"
fi
exec "$@"
