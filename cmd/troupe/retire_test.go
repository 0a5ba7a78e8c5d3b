package main

import (
	"errors"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/troupe-llm/troupe/http"
)

// A server that retires waits, but not with a device that is lost, nor when nobody
// can reach it any more.
func TestRetire(t *testing.T) {
	lost, broken := make(chan struct{}), errors.New("listening failed")
	close(lost)
	served := make(chan error, 1)
	served <- broken
	for name, c := range map[string]struct {
		wait   time.Duration
		served chan error
		lost   chan struct{}
		want   error
	}{
		"no wait":         {0, nil, nil, nil},
		"a wait":          {time.Nanosecond, nil, nil, nil},
		"a lost device":   {time.Hour, nil, lost, nil},
		"a broken server": {time.Hour, served, nil, broken},
	} {
		server, err := http.NewLoading(http.Config{}, zerolog.Nop())
		if err != nil {
			t.Fatal(err)
		}
		if err := retire(c.wait, server, c.served, c.lost, zerolog.Nop()); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
	}
}
