package engine

import (
	"time"

	"github.com/troupe-llm/troupe/gpu/batch"
)

// DeviceTime is how the device spent its time while there was work.
type DeviceTime struct {
	Busy time.Duration // computing steps
	Idle time.Duration // between steps or in them, though requests were running or waiting
	// Busy by what steps held: decode rows alone, prefill rows alone, both.
	Decode, Prefill, Mixed time.Duration
	// Reducing is how much of Busy went into adding up what devices that share the
	// model have, and Waiting how much of that was waiting for the slowest, of all
	// of them in the mean.
	Reducing, Waiting time.Duration
}

// Add adds up what several devices did.
func (t *DeviceTime) Add(o *DeviceTime) {
	t.Busy += o.Busy
	t.Idle += o.Idle
	t.Decode += o.Decode
	t.Prefill += o.Prefill
	t.Mixed += o.Mixed
	t.Reducing += o.Reducing
	t.Waiting += o.Waiting
}

// deviceClock adds up a device's time. It is the scheduler's.
type deviceClock struct {
	DeviceTime
	ended int64 // of the last step, as batch.Now; 0: nothing was to be done since
}

// ran adds a step, in which the device may have waited for masks.
func (c *deviceClock) ran(s *batch.Step, r *batch.Result) {
	if c.ended > 0 {
		c.Idle += time.Duration(max(0, r.Began-c.ended))
	}
	stalled := r.Resumed - r.Stalled
	c.Idle += time.Duration(stalled)
	busy := time.Duration(r.Ended - r.Began - stalled)
	c.Busy += busy
	c.Reducing += time.Duration(r.Reducing)
	c.Waiting += time.Duration(r.Waiting)
	switch s.Replies() {
	case len(s.Rows):
		c.Decode += busy
	case 0:
		c.Prefill += busy
	default:
		c.Mixed += busy
	}
	c.ended = r.Ended
}

// rest says that the time until the next step is not the device's fault.
func (c *deviceClock) rest() { c.ended = 0 }
