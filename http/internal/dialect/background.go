package dialect

import "github.com/troupe-llm/troupe/http/internal/sse"

// Background is an answer that is made whether its client waits or not: what its
// stream writer appends goes to a log, which clients may follow.
type Background struct {
	Log *sse.Log
	// Accepted is the body of the response that says that it is being made; nil: the
	// client follows the log at once.
	Accepted []byte
	// Cancelled appends the end of an answer that was cancelled.
	Cancelled func(dst []byte, a *Answer) []byte
	// Cancel ends the answer early, and Done is closed when it has ended in whatever
	// way. The server sets both before it calls the writer.
	Cancel func()
	Done   chan struct{}
}
