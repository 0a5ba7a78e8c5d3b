#!/usr/bin/env bash
# Runs a command with CUDA's headers on the compiler's path:
#
#	gpu/cuda/with.sh go build -tags cuda -o bin/ ./cmd/troupe
#
# They are those of $CUDA_HOME, of /usr/local/cuda, or else of .cuda/, which fetch.sh
# fills. No library of CUDA's is linked: what is built opens them when it runs. So
# that gorgonia.org/cu's -lcuda is content, there is an archive of that name with
# nothing in it; it must come before a driver's library.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)

home=${CUDA_HOME:-/usr/local/cuda}
if [[ ! -e $home/include/cublasLt.h || ! -e $home/include/nvrtc.h ]]; then
  "$here/fetch.sh" headers >&2
  home=$(cd "$here/../.." && pwd)/.cuda
  # Where its compiler was fetched, too, tests find it.
  [[ -d $home/lib ]] && export LD_LIBRARY_PATH="$home/lib${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}"
fi

export CGO_ENABLED=1
export CGO_CFLAGS="-O2 -I$here/include -I$home/include -I$home/include/cccl"
export CGO_LDFLAGS="-L$here/link"
exec "$@"
