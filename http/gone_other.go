//go:build !unix

package http

import "net"

// watch cannot see here that a client goes away; a failing write will tell.
func watch(net.Conn, func()) (stop func()) { return func() {} }
