// Package sse writes server-sent events.
//
// frames.go is their text, stream.go one answer's way to its connection,
// writers.go the goroutines that write all streams, socket_unix.go what a socket
// takes at once. What events say, and which there are, is their source's.
package sse

// An event is appended in two halves, around its data, which is one line:
//
//	dst = sse.Data(dst)            or sse.Named(dst, "ping")
//	dst = append(dst, `{…}`...)
//	dst = sse.End(dst)

// Data begins an event without a name.
func Data(dst []byte) []byte { return append(dst, "data: "...) }

// Named begins an event with a name.
func Named(dst []byte, name string) []byte {
	return append(append(append(dst, "event: "...), name...), "\ndata: "...)
}

// End ends an event.
func End(dst []byte) []byte { return append(dst, "\n\n"...) }

// Comment appends what clients skip.
func Comment(dst []byte, text string) []byte {
	return append(append(append(dst, ": "...), text...), "\n\n"...)
}
