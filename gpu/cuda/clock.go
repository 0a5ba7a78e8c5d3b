package cuda

// clock carries times of the device, which only come as differences, over to
// the host's clock. Each step is placed after the last one by what the device
// measured between them; what the host saw bounds it: a step begins after it
// was launched and has ended when its end is known. So the two clocks drift
// apart by no more than that.
type clock struct {
	ended int64 // of the last step, host's nanoseconds
	any   bool
}

// step places a step that began gap after the last one's end and took lasted,
// on the device's clock, launched and seen to have ended at the host's times.
func (c *clock) step(gap, lasted, launched, seen int64) (began, ended int64) {
	began = launched
	if c.any {
		began = max(c.ended+gap, launched)
	}
	ended = began + lasted
	if over := ended - seen; over > 0 {
		began, ended = began-over, ended-over
	}
	c.ended, c.any = ended, true
	return began, ended
}
