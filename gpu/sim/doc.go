// Package sim is a device that computes nothing and takes as long as a named
// GPU would: for testing schedulers at scale and for asking what a machine
// would do before there is one.
//
// How long a step takes is a roofline over the kernels of a pass, which package
// lower makes of the model's program, with eight rates fitted to package cuda on
// an H200: 82 steps of Qwen3-0.6B, Llama-3.1-8B, Qwen3-14B and Qwen3-30B-A3B in
// bfloat16, from one decode to prompts of 8,192 tokens and up to 960,000
// positions read. Its error is 1.7% in the median and 13.8% at worst: one long
// sequence alone, of which attention reads more slowly than of many. Of each
// model by rates fitted to the others alone it is 1.2% to 2.6% in the median and
// 5.6% to 14.0% at worst. (The form of the roofline and its corner were chosen
// with all four in view.) Whole runs come out within 2%:
// bench/results/virtual.md. All GPUs but the H200 are assumed: the same shares
// of other peaks. So is what several lose to adding up, see hardware.go.
//
// Read hardware.go (the GPUs), price.go (what a program's kernels move and
// compute), roofline.go (how long a step takes), engine.go (what a step draws,
// and which steps are refused), device.go (the same, paced in real time).
//
// An Engine runs a step at once and says how long it would have taken: with a
// clock of its own a program replays an hour of traffic in seconds. A Device
// wraps an Engine and lets the time pass.
//
// Tokens are a hash of all tokens before them, which lies where keys and
// values would, in pages: a request's output tells whether it read its own
// history and nothing else, and is the same however requests were batched.
package sim
