//go:build unix

package sse

import (
	"net"
	"syscall"
)

// rawWriter writes to a connection what it takes at once.
type rawWriter interface{ tryWrite(b []byte) int }

// socket is one of the system's.
type socket struct {
	raw syscall.RawConn
	try func(fd uintptr) bool // made once, as it would be allocated for each write
	b   []byte
	n   int
}

// newRawWriter is nil for connections that are not sockets.
func newRawWriter(c net.Conn) rawWriter {
	sc, is := c.(syscall.Conn)
	if !is {
		return nil
	}
	raw, err := sc.SyscallConn()
	if err != nil {
		return nil
	}
	s := &socket{raw: raw}
	s.try = func(fd uintptr) bool {
		n, err := syscall.Write(int(fd), s.b)
		if err != nil { // a write that waits will say the same, or go on
			n = 0
		}
		s.n = n
		return true
	}
	return s
}

// tryWrite returns how much of b was written.
func (s *socket) tryWrite(b []byte) int {
	s.b, s.n = b, 0
	if s.raw.Write(s.try) != nil { // closed, or its deadline is over
		return 0
	}
	return s.n
}
