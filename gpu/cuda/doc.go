// Package cuda runs models on NVIDIA GPUs of compute capability 8.0 and up,
// behind the build tag "cuda". Without the tag it is host logic that opens
// nothing, so that this is tested anywhere.
//
// Read it in this order: device.go (steps in, results out), engine.go (what
// lies in the device's memory), encode.go (a step as one block of bytes),
// forward.go (a pass of the model), then what those stand on: context.go,
// modules.go, weights.go, blas.go, nvrtc.go, driver.go. Kernels are package
// kernel's.
//
//	Launch ─ encode ─▶ pinned ─ copy stream ─▶ block ─ begin ─▶ state ─ graph or forward ─▶ pinned ─▶ Wait
//
// Threads: Open, Launch and Close belong to one locked thread; Wait to another,
// which makes the context current for itself. Kernels, products and graphs run
// on one stream in launch order; a step's upload runs on a second one beside
// the step before.
//
// What a step changes travels in its upload: tokens, positions and slots,
// pages, sampling parameters. Everything else stays on the device: the page
// table, each slot's last token, token counts for penalties. A captured graph
// has the addresses of that state and a number of rows, padded; how attention
// divides its work is computed inside it.
//
// An error condemns the device: Close destroys the context, and a new one is
// opened.
//
// # Building
//
// gorgonia.org/cu meets CUDA 13 through include/cuda.h; with.sh sets the paths,
// fetch.sh gets CUDA where there is none:
//
//	gpu/cuda/with.sh go build -tags cuda -o bin/ ./cmd/troupe
//
// # State
//
// Not yet run on a GPU. Everything is compiled: the tag with CUDA 13.0's
// headers, all kernels by NVRTC for sm_80, sm_90a and sm_100, without spilled
// registers. On a machine with a GPU, in this order:
//
//	gpu/cuda/with.sh go test -tags cuda -run TestCompile ./gpu/cuda
//	gpu/cuda/with.sh go test -tags cuda -v ./gpu/kernel
//	gpu/cuda/with.sh go test -tags cuda -v ./gpu/cuda
//	compute-sanitizer --tool memcheck cuda.test -test.run TestReferences
//	bin/troupe bench offline --model qwen3-0.6b --dummy-weights --device cuda
//
// Test binaries are built elsewhere with go test -c where there is no Go.
package cuda
