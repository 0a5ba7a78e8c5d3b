//go:build unix

package main

import (
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// inherited is the listener that the process before this one left, if any, and
// how many before it were short-lived.
func inherited() (net.Listener, int, error) {
	will := os.Getenv(inheritance)
	if will == "" {
		return nil, 0, nil
	}
	var fd uintptr
	var restarts int
	if _, err := fmt.Sscan(will, &fd, &restarts); err != nil {
		return nil, 0, fmt.Errorf("%s is %q; a server sets it for itself alone: %w", inheritance, will, err)
	}
	f := os.NewFile(fd, "listener")
	defer f.Close() // the listener has a copy
	l, err := net.FileListener(f)
	if err != nil {
		return nil, 0, fmt.Errorf("taking over descriptor %d: %w", fd, err)
	}
	return l, restarts, nil
}

// legacy keeps a listener for the next process; connections wait in it.
func legacy(l net.Listener) (*os.File, error) {
	switch l := l.(type) {
	case *net.TCPListener:
		return l.File()
	case *net.UnixListener:
		l.SetUnlinkOnClose(false)
		return l.File()
	}
	return nil, fmt.Errorf("a %T cannot be handed over", l)
}

// restart replaces this process by another of the same program, arguments and
// number, which goes on listening. It returns only when that fails.
func restart(listener *os.File, restarts int) error {
	name, err := os.Executable()
	if err != nil {
		return err
	}
	if _, err := unix.FcntlInt(listener.Fd(), unix.F_SETFD, 0); err != nil { // open in the next
		return err
	}
	var env []string
	for _, e := range os.Environ() {
		if !strings.HasPrefix(e, inheritance+"=") {
			env = append(env, e)
		}
	}
	env = append(env, inheritance+"="+strconv.Itoa(int(listener.Fd()))+" "+strconv.Itoa(restarts))
	return syscall.Exec(name, os.Args, env)
}
