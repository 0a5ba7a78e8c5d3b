#!/usr/bin/env bash
# Starts what release.sh made, as far as this machine can, and looks at the rest.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../../../dist"
fail() {
  echo "$*" >&2
  exit 1
}

sha256sum --quiet -c SHA256SUMS

# says what a program is, by its own header.
for platform in linux/amd64 linux/arm64 darwin/arm64 windows/amd64; do
  for tree in "${platform/\//-}"*/; do
    built=$(go version -m "$tree"troupe*)
    grep -q "GOOS=${platform%/*}" <<<"$built" && grep -q "GOARCH=${platform#*/}" <<<"$built" || fail "$tree is not for $platform"
  done
done

# starts COMMAND…: it says its version, explains itself, and replies.
starts() {
  echo "starts: $*"
  "$@" version | grep >/dev/null '^troupe ' || fail "$*: no version"
  "$@" doctor | grep >/dev/null -- '--device cpu' || fail "$*: doctor"
  [[ -n $("$@" complete --device cpu --max-tokens 4 "Tell me a story") ]] || fail "$*: no reply"
}

# With CUDA: no library of it is asked of the loader, and no newer symbol of glibc.
newest=$(objdump -T linux-amd64/troupe | grep -o 'GLIBC_[0-9.]*' | sort -V | tail -n 1)
[[ $(printf '%s\nGLIBC_2.28\n' "$newest" | sort -V | tail -n 1) == GLIBC_2.28 ]] || fail "linux-amd64 needs $newest"
! readelf -d linux-amd64/troupe | grep NEEDED | grep -E 'cuda|nvrtc|cublas|nccl' || fail "linux-amd64 does not start without CUDA"
starts linux-amd64/troupe
if ! linux-amd64/troupe doctor | grep >/dev/null 'device cuda *is what'; then
  why=$(linux-amd64/troupe complete --device cuda hi 2>&1) && fail "it ran on a GPU that is not there"
  grep -q "cuda" <<<"$why" || fail "--device cuda: $why"
fi

# Static ones need no other file: an empty directory is all they see.
readelf -d linux-amd64-static/troupe | grep NEEDED && fail "linux-amd64-static is not static"
starts linux-amd64-static/troupe
if [[ $(id -u) == 0 ]]; then
  empty=$(mktemp -d)
  trap 'rm -rf "$empty"' EXIT
  cp linux-amd64-static/troupe "$empty/"
  starts chroot "$empty" /troupe
fi
if command -v qemu-aarch64 >/dev/null; then
  starts qemu-aarch64 linux-arm64/troupe
else
  echo "linux-arm64 was not started: there is no qemu-aarch64"
fi

if command -v dpkg-deb >/dev/null; then
  for deb in *.deb; do
    dpkg-deb --contents "$deb" | grep >/dev/null './usr/bin/troupe' || fail "$deb has no program"
  done
fi
