package otlp

import (
	"encoding/binary"
	"encoding/hex"
	"math/rand/v2"
	"strings"
)

// TraceID and SpanID name traces and their spans; zero is none.
type (
	TraceID [16]byte
	SpanID  [8]byte
)

// Context is where in a trace a request belongs.
type Context struct {
	Trace   TraceID
	Parent  SpanID // the caller's span; zero: this is the first
	State   string
	Sampled bool // spans are wanted
}

// Continue reads the headers traceparent and tracestate. Without a valid
// traceparent it begins a new trace, which is sampled.
func Continue(traceparent, tracestate string) Context {
	c := Context{State: tracestate}
	// version-trace-parent-flags; versions to come may add more.
	parts := strings.Split(traceparent, "-")
	var version, flags [1]byte
	switch {
	case len(parts) < 4, !decode(version[:], parts[0]), version[0] == 0xff, version[0] == 0 && len(parts) != 4,
		!decode(c.Trace[:], parts[1]), !decode(c.Parent[:], parts[2]), !decode(flags[:], parts[3]),
		c.Trace == (TraceID{}), c.Parent == (SpanID{}):
		return Context{Trace: NewTraceID(), Sampled: true}
	}
	c.Sampled = flags[0]&1 == 1
	return c
}

// decode reads lower-case hexadecimal that fills dst.
func decode(dst []byte, text string) bool {
	if len(text) != 2*len(dst) || strings.ToLower(text) != text {
		return false
	}
	_, err := hex.Decode(dst, []byte(text))
	return err == nil
}

// NewTraceID names a trace.
func NewTraceID() (id TraceID) {
	binary.BigEndian.PutUint64(id[:8], rand.Uint64())
	binary.BigEndian.PutUint64(id[8:], rand.Uint64()|1) // never zero
	return id
}

// NewSpanID names a span.
func NewSpanID() (id SpanID) {
	binary.BigEndian.PutUint64(id[:], rand.Uint64()|1)
	return id
}
