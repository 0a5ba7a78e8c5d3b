package remote

// clock knows how far another host's batch.Now is ahead of this one's, as NTP does: what was sent
// there and answered was there at some time in between, so that the middle is off by half of the way
// there and back at most, however unevenly the two share it. Clocks drift, so that the bound grows from
// then on; an answer counts whose bound is no wider than that. The zero value has heard nothing.
type clock struct {
	ahead int64
	way   int64 // there and back, of the answer that counts
	at    int64 // when that came, as batch.Now here; 0: none has
}

// drift is how many nanoseconds it takes two clocks to drift apart by one: 100 millionths, twice what
// crystals are sold for.
const drift = 10_000

// set takes an answer: what was sent here, was there, and is back now.
func (c *clock) set(sent, there, now int64) {
	if way := now - sent; c.at == 0 || half(way) <= c.bound(now) {
		*c = clock{ahead: there - (sent + way/2), way: way, at: now}
	}
}

// bound is how far ahead may be off, now.
func (c *clock) bound(now int64) int64 { return half(c.way) + (now-c.at)/drift }

// half is half of a way, rounded up: times are whole.
func half(way int64) int64 { return (way + 1) / 2 }

// here is a time there on this host's clock; 0, which is none, stays.
func (c *clock) here(t int64) int64 {
	if t == 0 {
		return 0
	}
	return t - c.ahead
}
