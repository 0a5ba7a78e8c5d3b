package tokenize

import (
	"slices"
	"testing"
)

// TestOrder holds the ordering of marks, few or very many, to a stable sort.
func TestOrder(t *testing.T) {
	marks := []rune("\u0301\u0323\u0300\u0302\u0316\u0345\u05b0\u064b\u093c\u3099")
	r := random(t)
	for range rounds(t, 2000) {
		d := []rune{'e'}
		for range r.IntN(100) {
			d = append(d, marks[r.IntN(len(marks))])
		}
		d = append(d, 'x')
		want := slices.Clone(d)
		slices.SortStableFunc(want[1:len(want)-1], func(a, b rune) int { return int(combining(a)) - int(combining(b)) })
		if got := order(slices.Clone(d)); !slices.Equal(got, want) {
			t.Fatalf("%+q: got %+q, want %+q", string(d), string(got), string(want))
		}
	}
}
