//go:build !unix

package streams

import "time"

func processorTime() time.Duration { return 0 }
