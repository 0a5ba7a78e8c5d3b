package cuda

import "time"

// SumTimes are how long ranks take to add up so many rows in bf16: sent and added to
// the residual stream, with its norm, too, read from each other's memory and added,
// copied, added and normed, and by NCCL, in place. 0: not so.
type SumTimes struct {
	Rows                              int
	Added, Normed, Read, Copied, NCCL time.Duration
}
