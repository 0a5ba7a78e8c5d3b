package bench

import (
	"context"
	"crypto/tls"
	"net"
	"net/http/httptrace"
	"sync/atomic"
	"time"
)

// A client with a thousand streams reads a token some time after it came: the
// goroutine has to wake first. So where the system can (Linux), connections
// tell when the kernel received what was read last.

// Stamps says whose clock a client's times are by.
type Stamps string

// The kernel's are of a packet's coming, the client's of its being read.
const (
	KernelStamps Stamps = "kernel"
	ClientStamps Stamps = "client"
)

// came is a connection that knows when its latest bytes came.
type came interface{ came() time.Time }

// moments are when a request went out, and whose clock tells of its reply.
type moments struct {
	sent atomic.Pointer[time.Time]
	conn atomic.Pointer[came]
}

// trace makes a context that notes the moments of its request.
func (m *moments) trace(ctx context.Context) context.Context {
	return httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		GotConn: func(info httptrace.GotConnInfo) {
			conn := info.Conn
			if t, is := conn.(*tls.Conn); is {
				conn = t.NetConn()
			}
			if c, is := conn.(came); is {
				m.conn.Store(&c)
			}
		},
		// Called when the head is in the buffer, before anything is written:
		// dialling and waiting for a connection are not in the server's times.
		WroteHeaders: func() {
			now := time.Now()
			m.sent.Store(&now)
		},
	})
}

// now is when the reply's latest bytes came.
func (m *moments) now() time.Time {
	if c := m.conn.Load(); c != nil {
		return (*c).came()
	}
	return time.Now()
}

// stamps says whose clock now is by.
func (m *moments) stamps() Stamps {
	if m.conn.Load() != nil {
		return KernelStamps
	}
	return ClientStamps
}

// dialStamped dials a connection that is stamped if that can be had.
func dialStamped(d *net.Dialer) func(ctx context.Context, network, address string) (net.Conn, error) {
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		conn, err := d.DialContext(ctx, network, address)
		if err != nil {
			return nil, err
		}
		return stamped(conn), nil
	}
}
