#!/usr/bin/env bash
# Starts what release.sh made, as far as this machine can, and looks at the rest.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../../../dist"
fail() {
  echo "$*" >&2
  exit 1
}

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
chmod 755 "$work"

sha256sum --quiet -c SHA256SUMS

# says what a program is, by its own header.
for platform in linux/amd64 linux/arm64 darwin/amd64 darwin/arm64 windows/amd64; do
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
  empty=$work/empty
  mkdir "$empty"
  cp linux-amd64-static/troupe "$empty/"
  starts chroot "$empty" /troupe
  starts chroot --userspec=65532:65532 "$empty" /troupe # as in the container, without a home
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

# The package comes, runs, and goes: into a directory, where there are no other packages.
if [[ $(id -u) == 0 ]] && command -v dpkg >/dev/null; then
  root=$work/root
  mkdir -p "$root/var/lib/dpkg"
  touch "$root/var/lib/dpkg/status"
  package() { dpkg --root="$root" --force-depends "$@" troupe >"$work/dpkg" 2>&1 || fail "dpkg $*: $(<"$work/dpkg")"; }
  dpkg --root="$root" --force-depends --install troupe_*_amd64.deb >"$work/dpkg" 2>&1 || fail "the package: $(<"$work/dpkg")"
  starts "$root/usr/bin/troupe"
  # What systemd complains about it says, and ends with 0. That the manual is there it
  # sees for itself.
  if command -v systemd-analyze >/dev/null && command -v man >/dev/null; then
    sed "s,/usr/bin/troupe,$root&," "$root/lib/systemd/system/troupe.service" >"$work/troupe.service"
    complaints=$(MANPATH=$root/usr/share/man systemd-analyze verify "$work/troupe.service" 2>&1) || fail "systemd-analyze: $complaints"
    [[ -z $complaints ]] || fail "systemd-analyze: $complaints"
  else
    echo "the systemd unit was not looked at: there is no systemd-analyze, or no man"
  fi
  package --remove
  [[ -e $root/etc/troupe.yaml ]] || fail "removing the package takes its settings"
  package --purge
  left=$(find "$root" -path "$root/var" -prune -o -type f -print)
  [[ -z $left ]] || fail "purging the package leaves $left"
fi
