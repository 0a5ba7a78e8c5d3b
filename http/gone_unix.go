//go:build unix

package http

import (
	"net"
	"syscall"
	"time"
)

// watch tells when a client goes away while it waits for its answer: gone is
// called when it closes its side of the connection. stop ends the watch and
// must be called before the connection is read again.
//
// Who closes only its sending side, as "nc -N" does, looks the same: either way
// there comes one FIN. Only something written would bring back a reset from who
// has gone, and an answer that is not streamed has nothing to write before its
// end. So such a client counts as gone, as it does with nginx and with Go's own
// net/http.
//
// One goroutine is parked in the network poller, peeking: it reads nothing.
// Where something lies unread, as TLS's last word does when it is closed, the
// end behind it can be seen on Linux alone (hungUp); elsewhere a failing write
// will tell. Connections that are not sockets are not watched.
func watch(c net.Conn, gone func()) (stop func()) {
	sc, ok := bare(c).(syscall.Conn)
	if !ok {
		return func() {}
	}
	rc, err := sc.SyscallConn()
	if err != nil {
		return func() {}
	}
	_ = c.SetReadDeadline(time.Time{}) // the request's own is over
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		var closed bool
		var b [1]byte
		_ = rc.Read(func(fd uintptr) bool {
			n, _, err := syscall.Recvfrom(int(fd), b[:], syscall.MSG_PEEK)
			switch {
			case err == syscall.EAGAIN || err == syscall.EINTR || n > 0 && !hungUp(fd):
				return false // park until something changes
			default:
				closed = true
				return true
			}
		})
		if closed {
			gone()
		}
	}()
	return func() {
		_ = c.SetReadDeadline(time.Unix(1, 0)) // wakes the goroutine
		<-ended
		_ = c.SetReadDeadline(time.Time{})
	}
}
