// Package bench measures a server: the work it gives it, the clock it holds
// against it, and the report it writes.
//
// The work is reproducible: lengths and prompts come from Python's generator
// (python_random.go, lengths.go), so that a seed means the same requests here
// as in benchmarks written in Python.
package bench
