//go:build !linux

package sim

import "time"

func sleep(nanoseconds int64) { time.Sleep(time.Duration(nanoseconds)) }
