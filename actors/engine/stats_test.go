package engine

import (
	"reflect"
	"testing"

	"github.com/troupe-llm/troupe/gpu/batch"
)

func TestDeviceClockCountsWaitsWhileThereIsWork(t *testing.T) {
	var c deviceClock
	prefill, decode, mixed := &batch.Step{Rows: make([]batch.Row, 2)}, &batch.Step{Rows: make([]batch.Row, 3), NumDecode: 3}, &batch.Step{Rows: make([]batch.Row, 2), NumDecode: 1}
	c.ran(prefill, &batch.Result{Began: 100, Ended: 300})
	c.ran(mixed, &batch.Result{Began: 300, Ended: 450})  // the next was ready
	c.ran(decode, &batch.Result{Began: 500, Ended: 600}) // the device waited 50
	c.rest()                                             // nothing to do…
	c.ran(decode, &batch.Result{Began: 9000, Ended: 9100, Stalled: 9030, Resumed: 9050})
	if want := (DeviceTime{Busy: 530, Idle: 70, Decode: 180, Prefill: 200, Mixed: 150}); c.DeviceTime != want {
		t.Errorf("got %+v, want %+v", c.DeviceTime, want)
	}
}

// No time is forgotten when those of several devices are added up.
func TestDeviceTimesAddUp(t *testing.T) {
	var one, sum DeviceTime
	for v, i := reflect.ValueOf(&one).Elem(), 0; i < v.NumField(); i++ {
		v.Field(i).SetInt(int64(i + 1))
	}
	if sum.Add(&one); sum != one {
		t.Errorf("%+v, want %+v", sum, one)
	}
}
