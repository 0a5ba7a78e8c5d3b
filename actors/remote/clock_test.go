package remote

import (
	"math/rand/v2"
	"testing"
	"time"
)

// Another host's clock is 5 s ahead and goes wrong by 40 millionths. However unevenly the way there and
// back is shared, what is known of it is never off by more than is said, and that is little wherever one
// answer came fast.
func TestClockBound(t *testing.T) {
	for seed := range uint64(50) {
		rnd := rand.New(rand.NewPCG(seed, 2))
		now := int64(1e9)
		there := func() int64 { return now + 5e9 + now/25_000 }
		var c clock
		for range 400 {
			sent := now
			now += 20_000 + rnd.Int64N(1+rnd.Int64N(5e6)) // mostly some ms, at times some µs
			at := there()
			now += 20_000 + rnd.Int64N(1+rnd.Int64N(5e6))
			c.set(sent, at, now)
			for range 3 {
				if off := c.here(there()) - now; max(off, -off) > c.bound(now) {
					t.Fatalf("seed %d: off by %v, said to be by %v at most", seed, time.Duration(off), time.Duration(c.bound(now)))
				}
				now += int64(beatEvery) / 3
			}
		}
		if b := time.Duration(c.bound(now)); b > 2*time.Millisecond {
			t.Errorf("seed %d: after 400 answers it may be off by %v", seed, b)
		}
	}
}

func TestClock(t *testing.T) {
	var c clock
	c.set(100, 5_000_000_150, 200) // takes 50 there and back each
	if c.ahead != 5e9 || c.bound(200) != 50 || c.here(5_000_000_150) != 150 || c.here(0) != 0 {
		t.Errorf("%+v", c)
	}
	c.set(1_000, 5_000_001_900, 2_000) // slower: says less
	if c.ahead != 5e9 || c.bound(200+50*drift) != 100 {
		t.Errorf("%+v, off by %d", c, c.bound(200+50*drift))
	}
	c.set(1e9, 6_000_000_999, 1e9+1_000) // slower, but the other is long ago
	if c.ahead != 5e9+499 || c.bound(1e9+1_000) != 500 {
		t.Errorf("%+v", c)
	}
}
