package main

import (
	"fmt"
	"net"
	"os"
	"strconv"
)

// What systemd, and others that do as it does, tell a service by its
// environment, and hear from it: sd_listen_fds(3) and sd_notify(3).

// firstPassed is the first descriptor that a supervisor passes.
const firstPassed = 3

// activated is the listener that a supervisor opened for this process, nil
// when there is none. More than one cannot be told apart here.
func activated(getenv func(string) string) (net.Listener, error) {
	count := getenv("LISTEN_FDS")
	if count == "" || getenv("LISTEN_PID") != strconv.Itoa(os.Getpid()) {
		return nil, nil
	}
	if count != "1" {
		return nil, fmt.Errorf("LISTEN_FDS is %q; one socket can be served, so ListenStream= must stand once", count)
	}
	f := os.NewFile(firstPassed, "listener")
	defer f.Close() // the listener has a copy
	l, err := net.FileListener(f)
	if err != nil {
		return nil, fmt.Errorf("the socket that was passed as descriptor %d: %w", firstPassed, err)
	}
	return l, nil
}

// supervisor hears how the process does, if it asked to.
type supervisor struct{ address string }

func newSupervisor(getenv func(string) string) supervisor { return supervisor{getenv("NOTIFY_SOCKET")} }

// tell sends a state, such as "READY=1".
func (s supervisor) tell(state string) error {
	if s.address == "" {
		return nil
	}
	c, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: s.address, Net: "unixgram"})
	if err != nil {
		return fmt.Errorf("telling the supervisor %q at NOTIFY_SOCKET: %w", state, err)
	}
	defer c.Close()
	if _, err := c.Write([]byte(state)); err != nil {
		return fmt.Errorf("telling the supervisor %q at NOTIFY_SOCKET: %w", state, err)
	}
	return nil
}
