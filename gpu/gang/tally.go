package gang

import "sync"

// tally adds up how far ranks are.
type tally struct {
	tell func(done, total int64)

	mu          sync.Mutex
	done, total []int64 // guarded by mu: of each rank
}

func newTally(ranks int, tell func(done, total int64)) *tally {
	return &tally{tell: tell, done: make([]int64, ranks), total: make([]int64, ranks)}
}

// of hears how far a rank is; nil: nobody wants to know. Totals are known when
// every rank has said its own.
func (t *tally) of(rank int) func(done, total int64) {
	if t.tell == nil {
		return nil
	}
	return func(done, total int64) {
		t.mu.Lock()
		defer t.mu.Unlock()
		t.done[rank], t.total[rank] = done, total
		var sum, of int64
		for i := range t.done {
			if t.total[i] == 0 {
				return
			}
			sum, of = sum+t.done[i], of+t.total[i]
		}
		t.tell(sum, of)
	}
}
