package actors

import (
	"testing"
	"time"

	"github.com/troupe-llm/troupe/gpu/batch"
)

func TestDeviceClockCountsWaitsWhileThereIsWork(t *testing.T) {
	var c deviceClock
	c.ran(&batch.Result{Began: 100, Ended: 300})
	c.ran(&batch.Result{Began: 300, Ended: 450}) // the next was ready
	c.ran(&batch.Result{Began: 500, Ended: 600}) // the device waited 50
	c.rest()                                     // nothing to do…
	c.ran(&batch.Result{Began: 9000, Ended: 9100, Stalled: 9030, Resumed: 9050})
	if want := (DeviceTime{Busy: 530 * time.Nanosecond, Idle: 70 * time.Nanosecond}); c.DeviceTime != want {
		t.Errorf("got %+v, want %+v", c.DeviceTime, want)
	}
}
