//go:build !unix

package sse

import "net"

// rawWriter writes to a connection what it takes at once.
type rawWriter interface{ tryWrite(b []byte) int }

func newRawWriter(net.Conn) rawWriter { return nil }
