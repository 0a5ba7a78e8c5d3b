package http

import (
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rs/zerolog"
)

// failing is a listener that has one connection after some failures.
type failing struct {
	net.Listener
	failures []error
}

func (l *failing) Accept() (net.Conn, error) {
	if len(l.failures) == 0 {
		c, _ := net.Pipe()
		return c, nil
	}
	err := l.failures[0]
	l.failures = l.failures[1:]
	return nil, err
}

func (l *failing) Close() error { return nil }

func TestAcceptGoesOn(t *testing.T) {
	full := &net.OpError{Op: "accept", Net: "tcp", Err: os.NewSyscallError("accept4", syscall.EMFILE)}
	var log bytes.Buffer
	l := newPatient(&failing{failures: slices.Repeat([]error{full}, 10)}, zerolog.New(&log))
	var waits []time.Duration
	l.pause = func(d time.Duration, _ <-chan struct{}) { waits = append(waits, d) }
	if _, err := l.Accept(); err != nil {
		t.Fatal(err)
	}
	ms := time.Millisecond
	if want := []time.Duration{5 * ms, 10 * ms, 20 * ms, 40 * ms, 80 * ms, 160 * ms, 320 * ms, 640 * ms, time.Second, time.Second}; !slices.Equal(waits, want) {
		t.Errorf("it waits %v, want %v", waits, want)
	}
	if got := log.String(); strings.Count(got, "\n") != 1 || !strings.Contains(got, "too many open files") {
		t.Errorf("the log has %q, want one line", got)
	}
}

func TestAcceptEnds(t *testing.T) {
	full := &net.OpError{Op: "accept", Err: os.NewSyscallError("accept4", syscall.EMFILE)}
	strange := errors.New("the network is gone")
	for _, tc := range []struct {
		failures []error
		want     error
	}{
		{[]error{full, net.ErrClosed}, io.EOF},
		{[]error{full, strange}, strange},
	} {
		l := newPatient(&failing{failures: tc.failures}, zerolog.Nop())
		l.pause = func(time.Duration, <-chan struct{}) {}
		if _, err := l.Accept(); !errors.Is(err, tc.want) {
			t.Errorf("%v end with %v, want %v", tc.failures, err, tc.want)
		}
	}
	// Closing ends a pause, however long.
	l := newPatient(&failing{failures: slices.Repeat([]error{full}, 3)}, zerolog.Nop())
	l.pause = func(_ time.Duration, closed <-chan struct{}) { l.Close(); pause(time.Hour, closed) }
	if _, err := l.Accept(); !errors.Is(err, io.EOF) {
		t.Errorf("a closed one ends with %v, want %v", err, io.EOF)
	}
}
