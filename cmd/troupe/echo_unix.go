//go:build linux || darwin

package main

import (
	"os"

	"golang.org/x/sys/unix"
)

// withoutEcho has a terminal show nothing of what is typed, which is kept for who reads next, until restore is
// called. Ctrl-C is a signal all the same.
func withoutEcho(tty *os.File) (restore func()) {
	fd := int(tty.Fd())
	was, err := unix.IoctlGetTermios(fd, getTermios)
	if err != nil { // then it shows
		return func() {}
	}
	silent := *was
	silent.Lflag &^= unix.ECHO
	if unix.IoctlSetTermios(fd, setTermios, &silent) != nil {
		return func() {}
	}
	return func() { _ = unix.IoctlSetTermios(fd, setTermios, was) } // as it could be set before
}
