package bench

import (
	"slices"
	"time"
)

// ClientCost is what measuring cost and how far its times may be off.
type ClientCost struct {
	// CPUS is the processor time this process took, and PerTokenUS what of it
	// falls on a token: absent when the server is in this process too, or the
	// system does not tell.
	CPUS       float64 `json:"cpu_s,omitempty"`
	PerTokenUS float64 `json:"cpu_per_token_us,omitempty"`
	// Stamps says whose clock tokens' times are by.
	Stamps Stamps `json:"stamps"`
	// ReadLag is how long after a packet came it was read: what a client
	// without the kernel's stamps would have added to its times.
	ReadLag Distribution `json:"read_lag_ms"`
	// WakeLag is how late a goroutine of the client woke that wanted to every
	// 10 ms.
	WakeLag Distribution `json:"wake_lag_ms"`
}

// watchClient measures the client until stopped; alone says that the process
// does nothing else.
func watchClient(alone bool) (stop func(tokens int) ClientCost) {
	const interval = 10 * time.Millisecond
	before := ProcessorTime()
	ended, told := make(chan struct{}), make(chan struct{})
	var lags []time.Duration
	go func() {
		defer close(told)
		timer := time.NewTimer(interval)
		defer timer.Stop()
		due := time.Now().Add(interval)
		for {
			select {
			case <-timer.C:
				now := time.Now()
				lags = append(lags, max(0, now.Sub(due)))
				due = now.Add(interval)
				timer.Reset(interval)
			case <-ended:
				return
			}
		}
	}()
	return func(tokens int) ClientCost {
		close(ended)
		<-told
		c := ClientCost{WakeLag: distribution(lags)}
		if took := ProcessorTime() - before; alone && took > 0 {
			c.CPUS = took.Seconds()
			c.PerTokenUS = 1e6 * c.CPUS / float64(max(1, tokens))
		}
		return c
	}
}

// read adds what the replies tell of the client.
func (c *ClientCost) read(timings []timing) {
	c.Stamps = KernelStamps
	if slices.ContainsFunc(timings, func(t timing) bool { return t.err == nil && t.stamps != KernelStamps }) {
		c.Stamps = ClientStamps
	}
	var lags []time.Duration
	for i := range timings {
		lags = append(lags, timings[i].lags...)
	}
	c.ReadLag = distribution(lags)
}
