//go:build !linux

package streams

import (
	"errors"
	"net"
)

// poller needs epoll.
type poller struct{}

var errNotHere = errors.New("opening so many streams needs Linux")

func newPoller(*net.TCPAddr) (*poller, error)   { return nil, errNotHere }
func (*poller) open() (int, error)              { return 0, errNotHere }
func (*poller) wait(int, func(int) error) error { return errNotHere }
func (*poller) read(int, []byte) (int, error)   { return 0, errNotHere }
func (*poller) write(int, []byte) error         { return errNotHere }
func (*poller) close(int, bool) error           { return errNotHere }
func (*poller) closeAll() error                 { return errNotHere }
