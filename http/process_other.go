//go:build !linux

package http

import "time"

// process is what the system says of this program; here, nothing.
type process struct {
	user, system time.Duration
	resident     int64
	files        int
	mostFiles    uint64
}

func processNow() (p process, ok bool) { return process{}, false }
