// Package sim is a device that computes nothing and takes as long as a named
// GPU would: for testing schedulers at scale and for asking what a machine
// would do before there is one.
//
// How long a step takes is a roofline with seven rates fitted to package cuda on
// an H200: 64 steps of Qwen3-0.6B, Llama-3.1-8B and Qwen3-14B in bfloat16, from
// one decode to prompts of 8,192 tokens and up to 960,000 positions read. Its
// error is 1.8% in the median and 10.2% at worst; of Llama-3.1-8B, by rates
// fitted to the other two alone, 1.7% and 7.3%; of Qwen3-14B likewise 1.6% and
// 9.1%. The smallest model is mostly the starting of kernels, which the larger
// say little of: of Qwen3-0.6B, by the rates of those, 8.6% and 25.2%. (The
// form of the roofline and its corner were chosen with all three in view.) In
// whole runs steps of long prompts came out short: bench/results/virtual.md.
// Mixtures of experts, several GPUs and all GPUs but the H200 are assumed: the same
// shares of other peaks.
//
// Read hardware.go (the GPUs), roofline.go (how long a step takes), engine.go
// (what a step draws, and which steps are refused), device.go (the same, paced
// in real time).
//
// An Engine runs a step at once and says how long it would have taken: with a
// clock of its own a program replays an hour of traffic in seconds. A Device
// wraps an Engine and lets the time pass.
//
// Tokens are a hash of all tokens before them, which lies where keys and
// values would, in pages: a request's output tells whether it read its own
// history and nothing else, and is the same however requests were batched.
package sim
