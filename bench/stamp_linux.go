//go:build linux && (amd64 || arm64)

package bench

import (
	"encoding/binary"
	"errors"
	"io"
	"net"
	"os"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// stampedConn reads with the kernel's receive times (SO_TIMESTAMPNS, socket(7);
// of TCP: the time of the newest packet that a read returned bytes of).
//
// Reads must not overlap; latest may be asked for from anywhere.
type stampedConn struct {
	*net.TCPConn
	raw    syscall.RawConn
	latest atomic.Int64 // after epoch; 0: nothing was read

	// Of the read under way, kept here so that it allocates nothing.
	buffer  []byte
	n       int
	err     error
	control [64]byte
	receive func(fd uintptr) (done bool)
}

// stamped makes the kernel stamp what comes. Where it cannot, the connection
// is returned as it is.
func stamped(conn net.Conn) net.Conn {
	tcp, is := conn.(*net.TCPConn)
	if !is {
		return conn
	}
	raw, err := tcp.SyscallConn()
	if err != nil {
		return conn
	}
	var refused error
	err = raw.Control(func(fd uintptr) { refused = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_TIMESTAMPNS, 1) })
	if err != nil || refused != nil {
		return conn
	}
	c := &stampedConn{TCPConn: tcp, raw: raw}
	c.receive = c.recvmsg
	return c
}

func (c *stampedConn) Read(b []byte) (int, error) {
	if len(b) == 0 {
		return 0, nil
	}
	c.buffer = b
	if err := c.raw.Read(c.receive); err != nil {
		return 0, err
	}
	switch {
	case c.err != nil:
		return 0, &net.OpError{Op: "read", Net: "tcp", Source: c.LocalAddr(), Addr: c.RemoteAddr(), Err: os.NewSyscallError("recvmsg", c.err)}
	case c.n == 0:
		return 0, io.EOF
	}
	return c.n, nil
}

// recvmsg reads once; it is done unless there was nothing yet.
func (c *stampedConn) recvmsg(fd uintptr) bool {
	for {
		var control int
		c.n, control, _, _, c.err = unix.Recvmsg(int(fd), c.buffer, c.control[:], 0)
		switch {
		case c.err == nil:
			c.note(c.control[:control])
		case errors.Is(c.err, unix.EINTR):
			continue
		case errors.Is(c.err, unix.EAGAIN):
			return false
		}
		return true
	}
}

// note takes the time out of the control message of a read. A packet that came
// before the option was set has none: it was read as soon as it came.
func (c *stampedConn) note(control []byte) {
	now := time.Now()
	at := now
	if len(control) >= unix.CmsgLen(16) {
		seconds := int64(binary.NativeEndian.Uint64(control[unix.CmsgLen(0):]))
		nanos := int64(binary.NativeEndian.Uint64(control[unix.CmsgLen(0)+8:]))
		// Stamps are by the wall clock; only how long ago that was is taken
		// from it.
		if ago := now.UnixNano() - (seconds*1e9 + nanos); ago > 0 && ago < int64(time.Minute) {
			at = now.Add(-time.Duration(ago))
		}
	}
	c.latest.Store(int64(at.Sub(epoch)))
}

// epoch is what stamps are kept relative to, on the monotonic clock.
var epoch = time.Now()

func (c *stampedConn) came() time.Time {
	if at := c.latest.Load(); at != 0 {
		return epoch.Add(time.Duration(at))
	}
	return time.Now()
}
