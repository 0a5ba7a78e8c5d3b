#!/usr/bin/env bash
# Puts what the tag "cuda" needs to build into .cuda/ at the repository's root,
# for machines without the CUDA toolkit: headers, NVRTC and cuBLASLt
# from NVIDIA's packages on PyPI, and a stub of the driver's library
# made from its header. Nothing here needs a GPU. Run it again after changing
# a version below.
set -euo pipefail
cd "$(dirname "$0")/../.."
root=$PWD/.cuda

packages=(
  nvidia-cuda-runtime==13.0.96
  nvidia-cuda-nvrtc==13.0.88
  nvidia-cuda-crt==13.0.88
  nvidia-cuda-cccl==13.0.85
  nvidia-cublas==13.0.2.14
)
stamp="${packages[*]} 4"
[[ -f $root/stamp && $(<"$root/stamp") == "$stamp" ]] && exit 0

rm -rf "$root"
mkdir -p "$root/lib" "$root/stub"
python=${PYTHON:-python3}
"$python" -m pip download --quiet --no-deps --no-cache-dir --only-binary=:all: \
  --platform manylinux_2_27_x86_64 --platform manylinux2014_x86_64 \
  --dest "$root/wheels" "${packages[@]}"
for wheel in "$root"/wheels/*.whl; do
  "$python" -m zipfile -e "$wheel" "$root/unpacked"
done
cu=$root/unpacked/nvidia/cu13
mv "$cu/include" "$root/include"
for lib in nvrtc nvrtc-builtins cublasLt; do
  for file in "$cu"/lib/lib$lib.so.*; do
    mv "$file" "$root/lib/"
    ln -sf "$(basename "$file")" "$root/lib/lib$lib.so"
  done
done
rm -rf "$root/wheels" "$root/unpacked"

# Every function that cuda.h names, in every version: a call returns
# CUDA_ERROR_STUB_LIBRARY. The linker is content, and a program that is started
# with it finds no device instead of not starting.
grep -ohE '\bcu[A-Z][A-Za-z0-9]*(_v[0-9]+)?\b' "$root/include/cuda.h" | sort -u |
  awk '{ print "int " $1 "(void) { return 34; }" } ' |
  cat - <(for f in cuCtxCreate cuMemAdvise cuMemPrefetchAsync cuGraphAddDependencies cuGraphRemoveDependencies \
    cuGraphGetEdges cuGraphNodeGetDependencies cuGraphNodeGetDependentNodes cuGraphAddNode cuGraphKernelNodeGetParams \
    cuStreamGetCaptureInfo cuStreamUpdateCaptureDependencies cuEventElapsedTime; do
    for v in "" _v2 _v3 _v4; do echo "int $f$v(void) { return 34; }"; done
  done) | sort -u >"$root/stub/libcuda.c"
"${CC:-gcc}" -w -shared -fPIC -Wl,-soname,libcuda.so.1 -o "$root/stub/libcuda.so.1" "$root/stub/libcuda.c"
ln -sf libcuda.so.1 "$root/stub/libcuda.so"
echo "$stamp" >"$root/stamp"
du -sh "$root" | cut -f1 | sed 's/$/ in .cuda/'
