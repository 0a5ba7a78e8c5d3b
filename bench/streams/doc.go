// Package streams opens thousands of streams to a server, checks every token
// of them, and measures what serving them costs.
//
// Read wire.go (one connection's bytes, down to tokens), check.go (what the
// tokens must be), load.go (the run), report.go (what it says).
//
// The server is to be in another process on the same machine, so that its own
// figures (/metrics) tell its processor time apart from the client's. The
// client is one goroutine over Linux's epoll: at so many streams a goroutine
// each would cost more than the server.
package streams
