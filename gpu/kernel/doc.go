// Package kernel holds the CUDA kernels and what starts them. Beside each
// source x.cu stands its launcher x.go, which checks shapes; gpu_test.go
// holds kernels against a slow reference in Go (package ref), times them
// and says how far from the limit they are. The package itself is plain Go: it
// neither compiles nor runs kernels (package cuda does), so it builds, and its
// host side is tested, anywhere.
//
// Read it in the order of a step: begin.cu, embed.cu, norm.cu, rope.cu,
// decode.cu, prefill.cu, silu.cu or, of a mixture of experts, moe_route.cu,
// moe_tiles.cu and moe_combine.cu, then sample.cu, logprobs.cu.
// common.cuh comes before every source, other headers before those that
// kernel.go names; fill.cu makes weights for benchmarks. A source x_hopper.cu is
// for compute capability 9.0 alone.
//
// A kernel has one parameter, a struct. Its Go twin here has the same fields in
// the same order with the same sizes; compiling the kernels checks that.
package kernel
