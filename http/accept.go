package http

import (
	"errors"
	"io"
	"net"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/rs/zerolog"
)

// patient is a listener that does not give up when the system fails to accept
// a connection: fasthttp ends a server at any failure, and with it the answers
// under way. A process that has no descriptors left has some again when
// connections end, so it waits and goes on.
type patient struct {
	net.Listener
	log    zerolog.Logger
	closed chan struct{}
	once   atomic.Bool // closed is
	told   time.Time   // when a failure was logged last; Accept's caller's
	// pause waits, and ends when closed does; tests have their own.
	pause func(time.Duration, <-chan struct{})
}

func newPatient(ln net.Listener, log zerolog.Logger) *patient {
	return &patient{Listener: ln, log: log, closed: make(chan struct{}), pause: pause}
}

func pause(d time.Duration, closed <-chan struct{}) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-closed:
	}
}

// How long Accept waits after a failure, and after one more each time.
const (
	firstPause   = 5 * time.Millisecond
	longestPause = time.Second
)

func (l *patient) Accept() (net.Conn, error) {
	for wait := firstPause; ; wait = min(2*wait, longestPause) {
		c, err := l.Listener.Accept()
		if err == nil {
			return linger(c), nil
		}
		var system syscall.Errno
		switch {
		case l.once.Load(), errors.Is(err, net.ErrClosed):
			return nil, io.EOF // what fasthttp takes for an end
		case !errors.As(err, &system):
			return nil, err
		}
		if time.Since(l.told) > time.Minute {
			l.told = time.Now()
			l.log.Error().Err(err).Msg("no connection can be accepted; trying again until one can")
		}
		l.pause(wait, l.closed)
	}
}

func (l *patient) Close() error {
	if l.once.CompareAndSwap(false, true) {
		close(l.closed)
	}
	return l.Listener.Close()
}

// lingering is a TCP connection that may be closed while its client still
// sends. The system would answer that with a reset, which takes the response
// back that the client has not read yet.
type lingering struct {
	*net.TCPConn
	// unread is set when there is a response to be read before the client has
	// sent all.
	unread atomic.Bool
}

// lingerTime bounds how long what such a client sends is thrown away.
const lingerTime = time.Second

func linger(c net.Conn) net.Conn {
	if t, is := c.(*net.TCPConn); is {
		return &lingering{TCPConn: t}
	}
	return c
}

func (c *lingering) Close() error {
	if c.unread.Swap(false) {
		_ = c.CloseWrite()
		_ = c.SetReadDeadline(time.Now().Add(lingerTime))
		_, _ = io.Copy(io.Discard, c.TCPConn)
	}
	return c.TCPConn.Close()
}

// bare is the connection below TLS.
func bare(c net.Conn) net.Conn {
	if t, is := c.(interface{ NetConn() net.Conn }); is {
		return t.NetConn()
	}
	return c
}

// setUnread notes whether c's client may be sending when c is closed.
func setUnread(c net.Conn, unread bool) {
	if l, is := bare(c).(*lingering); is {
		l.unread.Store(unread)
	}
}
