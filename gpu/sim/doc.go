// Package sim is a device that computes nothing and takes as long as a named
// GPU would: for testing schedulers at scale and for asking what a machine
// would do before there is one.
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
