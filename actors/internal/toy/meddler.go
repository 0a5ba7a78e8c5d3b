package toy

import (
	"github.com/troupe-llm/troupe/gpu/batch"
	"github.com/troupe-llm/troupe/gpu/device"
)

// Meddler is a device that a test has a hand in. Its hooks are called before what
// they are named after; an error is the device's.
type Meddler struct {
	device.Device
	BeforeLaunch func(*batch.Step) error
	BeforeMask   func(*batch.Masks) error
	BeforeWait   func(nth uint64) error
	Late         int // steps with late rows

	waited uint64
}

// Launch counts late steps.
func (d *Meddler) Launch(s *batch.Step) error {
	if s.Late() > 0 {
		d.Late++
	}
	if d.BeforeLaunch != nil {
		if err := d.BeforeLaunch(s); err != nil {
			return err
		}
	}
	return d.Device.Launch(s)
}

// Mask is the device's.
func (d *Meddler) Mask(m *batch.Masks) error {
	if d.BeforeMask != nil {
		if err := d.BeforeMask(m); err != nil {
			return err
		}
	}
	return d.Device.Mask(m)
}

// Wait is the device's.
func (d *Meddler) Wait(r *batch.Result) error {
	d.waited++
	if d.BeforeWait != nil {
		if err := d.BeforeWait(d.waited); err != nil {
			return err
		}
	}
	return d.Device.Wait(r)
}
