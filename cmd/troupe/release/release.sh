#!/usr/bin/env bash
# Makes dist/: the program for every platform, packed with its pages and completions,
# Debian packages, a bill of materials for each (CycloneDX), and checksums.
#
#	linux-amd64           processor and NVIDIA GPUs; starts wherever glibc is 2.28 or newer
#	linux-amd64-static    processor alone, needs no other file; so do all below
#	linux-arm64  darwin-amd64  darwin-arm64  windows-amd64
#
# The version is the commit's tag. Needs Go, and Python for zig and CUDA's headers.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
cd "$here/../../.."
dist=$PWD/dist
tool() { go tool -modfile="$here/tools.mod" "$@"; }

version=$(git describe --tags --match 'v[0-9]*' 2>/dev/null || echo "v0.0.0-$(git show -s --format=%cd --date=format:%Y%m%d).$(git rev-parse --short HEAD)")
version=${version#v}
SOURCE_DATE_EPOCH=$(git show -s --format=%ct)
export SOURCE_DATE_EPOCH
flags=(-buildvcs=true -trimpath -ldflags "-s -w")

rm -rf "$dist"
mkdir -p "$dist/common/completions" "$dist/common/man"
http/clienttest/venv.sh zig ziglang==0.17.0

# build NAME COMMAND…: a tree of its own for one platform.
build() {
  local name=$1 program=troupe
  [[ $name == windows-* ]] && program=troupe.exe
  echo "$name"
  mkdir -p "$dist/$name"
  "${@:2}" go build "${flags[@]}" -o "$dist/$name/$program" ./cmd/troupe
  tool cyclonedx-gomod bin -json -output "$dist/troupe-$version-$name.cdx.json" "$dist/$name/$program" 2>/dev/null
}
static() { CGO_ENABLED=0 GOOS=$1 GOARCH=$2 GOFLAGS=-tags=parquet "${@:3}"; }

build linux-amd64-static static linux amd64
build linux-arm64 static linux arm64
build darwin-amd64 static darwin amd64
build darwin-arm64 static darwin arm64
build windows-amd64 static windows amd64
# The parts of libc that Go would use to resolve names have newer symbols, and need
# files beside the program: Go's own are taken.
CC="$here/cc.sh" build linux-amd64 gpu/cuda/with.sh env GOFLAGS=-tags=cuda,parquet,netgo,osusergo

for shell in bash zsh fish powershell; do
  "$dist/linux-amd64-static/troupe" completion "$shell" >"$dist/common/completions/troupe.$shell"
done
go test -count 1 -run TestManPages ./cmd/troupe -man "$dist/common/man" >/dev/null
cp LICENSE README.md CHANGELOG.md "$dist/common/"

package() { # NAME ARCH
  ARCH=$2 TREE=dist/$1 VERSION=$version tool nfpm package --config <(if [[ $1 == linux-amd64 ]]; then cat; else grep -v ^depends; fi <"$here/nfpm.yaml") \
    --packager deb --target "$dist/" >"$dist/nfpm.log" 2>&1 || { cat "$dist/nfpm.log"; return 1; }
}
for tree in "$dist"/*-*/; do
  name=$(basename "$tree")
  cp -r "$dist"/common/. "$tree"
  if [[ $name == windows-* ]]; then
    (cd "$tree" && python3 -m zipfile -c "$dist/troupe-$version-$name.zip" ./*)
  else
    tar -C "$tree" --sort=name --mtime="@$SOURCE_DATE_EPOCH" --owner=0 --group=0 --numeric-owner \
      --transform "s,^\.,troupe-$version," -czf "$dist/troupe-$version-$name.tar.gz" .
  fi
done
package linux-amd64 amd64
package linux-arm64 arm64
(cd "$dist" && sha256sum -- *.tar.gz *.zip *.deb *.json >SHA256SUMS)
rm -rf "$dist/common" "$dist/nfpm.log"
ls -l "$dist" | awk 'NR > 1 { print $5, $9 }'
