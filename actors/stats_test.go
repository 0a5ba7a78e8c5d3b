package actors

import (
	"testing"
	"time"
)

func TestDeviceClockCountsWaitsWhileThereIsWork(t *testing.T) {
	var c deviceClock
	c.ran(100, 300)
	c.ran(300, 450) // the next was ready
	c.ran(500, 600) // the device waited 50
	c.rest()        // nothing to do…
	c.ran(9000, 9100)
	if want := (DeviceTime{Busy: 550 * time.Nanosecond, Idle: 50 * time.Nanosecond}); c.DeviceTime != want {
		t.Errorf("got %+v, want %+v", c.DeviceTime, want)
	}
}
