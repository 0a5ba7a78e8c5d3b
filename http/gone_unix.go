//go:build unix

package http

import (
	"net"
	"syscall"
	"time"
)

// watch tells when a client goes away while it waits for its answer: gone is
// closed when it closes its side of the connection. stop ends the watch and
// must be called before the connection is read again.
//
// One goroutine is parked in the network poller, peeking: it reads nothing. A
// client that sends more while it waits stays connected as far as this can
// see; a failing write will tell. Connections that are not sockets are not
// watched.
func watch(c net.Conn) (gone <-chan struct{}, stop func()) {
	sc, ok := c.(syscall.Conn)
	if !ok {
		return nil, func() {}
	}
	rc, err := sc.SyscallConn()
	if err != nil {
		return nil, func() {}
	}
	_ = c.SetReadDeadline(time.Time{}) // the request's own is over
	left, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		var closed bool
		var b [1]byte
		_ = rc.Read(func(fd uintptr) bool {
			n, _, err := syscall.Recvfrom(int(fd), b[:], syscall.MSG_PEEK)
			switch {
			case err == syscall.EAGAIN || err == syscall.EINTR || n > 0:
				return false // park until something changes
			default:
				closed = true
				return true
			}
		})
		if closed {
			close(left)
		}
	}()
	return left, func() {
		_ = c.SetReadDeadline(time.Unix(1, 0)) // wakes the goroutine
		<-ended
		_ = c.SetReadDeadline(time.Time{})
	}
}
