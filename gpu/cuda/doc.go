// Package cuda runs models on NVIDIA GPUs of compute capability 8.0 and up,
// behind the build tag "cuda". Without the tag it is host logic that opens
// nothing, so that this is tested anywhere.
//
// Read it in this order: device.go (steps in, results out), engine.go (what
// lies in the device's memory), encode.go (a step as one block of bytes),
// plan.go (a model's program as a list of stages, made once) with ops.go, attention.go and
// moe.go (which kernels do which ops), memory.go (which values share memory) and
// product.go, own.go (which products are kernels' of our own, by ways.go, which keeps what was fastest), forward.go (a pass), alone.go (one of a single row), replay.go (passes with prompts as graphs), score.go (what it says of a prompt), then what
// those stand on: context.go, modules.go, weights.go, chunk.go, blas.go, nvrtc.go,
// driver.go, and libraries.go, which opens CUDA's libraries where find.go says that
// they may be. Kernels are package kernel's; how ops become kernels, and from how
// many rows on other ones, is package lower's.
//
// A new op, or ops that one kernel does, is a case of compiler.op or a row of
// fused, and a function that fills in the kernel's arguments. What it needs and
// a program does not have is refused before anything is loaded.
//
//	Launch ─ encode ─▶ pinned ─ copy stream ─▶ block ─ begin ─▶ state ─ graph or forward ─▶ pinned ─▶ Wait
//
// Threads: Open, Launch, Mask and Close belong to one locked thread; Wait to another,
// which makes the context current for itself. Kernels, products and graphs run
// on one stream in launch order; a step's upload runs on a second one beside
// the step before. While Open captures graphs, a thread with a stream of its own
// loads the kernels of products.
//
// What a step changes travels in its upload: tokens, positions and slots,
// pages, sampling parameters. Everything else stays on the device: the page
// table, each slot's last token, token counts for penalties. A captured graph
// has the addresses of that state and a number of rows, padded; how attention
// divides its work is computed inside it.
//
// A step with late rows is enqueued without its drawing, and with nothing that
// waits. Mask uploads the masks beside the pass and enqueues the drawing and what
// comes behind it.
//
// An error condemns the device. After a kernel's fault (an illegal address, a
// trap) that is the end of CUDA in the process: its context, others on the same
// GPU and new ones all answer with the same error (TestFaults, driver 580). So
// opening again helps after an error of the host's side, and after a fault the
// server restarts itself.
//
// # Building
//
// gorgonia.org/cu meets CUDA 13 through include/cuda.h; with.sh sets the paths,
// fetch.sh gets headers where there are none:
//
//	gpu/cuda/with.sh go build -tags cuda -o bin/ ./cmd/troupe
//
// Nothing of CUDA's is linked: calls go to stubs.S, one for each name in symbols.h,
// and on into the libraries once they are open. So the program starts anywhere, and
// a library that is missing, or lacks a function, is an error of who needs it.
//
// # On another machine
//
// Where there is no Go, what is built elsewhere is taken along. Tests look for
// checkpoints beside the path they were built in.
//
//	gpu/cuda/with.sh go test -c -tags cuda -o bin/ ./gpu/cuda ./gpu/kernel
//	bin/kernel.test -test.v
//	bin/cuda.test -test.v
//	compute-sanitizer --tool memcheck bin/cuda.test -test.run TestReferences
//	bin/cuda.test -test.run '^$' -test.bench Ops -test.benchtime 20x
//
// Checked so on an H200; what was measured is in bench/results/gpu.md.
package cuda
