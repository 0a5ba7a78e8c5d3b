// Package bench measures a server: the work it gives it, the clock it holds
// against it, and the report it writes.
//
// The work is reproducible: lengths and prompts come from Python's generator
// (python_random.go, lengths.go), so that a seed means the same requests here
// as in benchmarks written in Python, or from recorded traffic (tracefile.go).
//
// It is put to an engine in this process (offline.go), to a server over the
// wire (online.go, with client.go and the kernel's clock in stamp.go; texts.go
// for servers that take no token ids), or to a simulated GPU under a clock of
// its own (virtual.go). accuracy.go measures the client itself.
//
// What comes of it is a Report (schema.go, described in SCHEMA.md): written by
// report.go, two of them compared by compare.go, shown as pages by bench/page.
// Of a traced run actortrace.go says where a token's time went.
package bench
