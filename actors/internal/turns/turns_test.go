package turns

import (
	"fmt"
	"slices"
	"testing"
)

// Each client has one of its turn, however much others bring.
func TestTurns(t *testing.T) {
	var q Queue[string]
	for i := range 4 {
		q.Push("flood", fmt.Sprint("f", i))
	}
	q.Push("", "x0")
	q.Push("small", "s0")
	var got []string
	pop := func() {
		if v, ok := q.Pop(); ok {
			got = append(got, v)
		}
	}
	for range 4 {
		pop()
	}
	q.Push("small", "s1")
	q.Push("", "x1")
	for range 9 {
		pop()
	}
	if want := []string{"f0", "x0", "s0", "f1", "f2", "s1", "x1", "f3"}; !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
	if len(q.waiting) != 0 || q.Clients() != 0 {
		t.Errorf("%d clients are still known", q.Clients())
	}
}
