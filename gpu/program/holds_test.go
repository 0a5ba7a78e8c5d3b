package program

import (
	"strings"
	"testing"
)

// A layout suits passes that fuse more, as far as they keep what it shares
// apart.
func TestHolds(t *testing.T) {
	v := func(name string, width int) *Value { return &Value{Name: name, Width: width} }
	w := &Weight{Shape: []int{4, 4}}
	x, a, b, c := v("x", 4), v("a", 4), v("b", 4), v("c", 4)
	ops := []Op{&Embed{Table: w, Scale: 1, Out: x}, &Product{x, a, w}, &Product{a, b, w}, &Product{b, c, w}}
	size := func(v *Value, inside bool) int {
		if inside {
			return 0
		}
		return v.Width
	}
	l := Lay(ops, size, c)
	if len(l.Buffers) != 2 {
		t.Fatalf("%v", l.Buffers)
	}
	if err := l.Holds(ops, size, c); err != nil {
		t.Error(err)
	}
	// b is inside: what reads a writes c, both in one buffer.
	two := Fuse(ops, []*Rule{{Ops: []Pattern{A(func(p *Product) bool { return p.In == a }), A[*Product]()}}})
	for want, err := range map[string]error{
		"c [tokens, 4] would lie where a": l.Holds(two, size, c),
		"d [tokens, 4] has no memory":     l.Holds([]Op{&Embed{Table: w, Scale: 1, Out: v("d", 4)}}, size),
		"x [tokens, 4] has no memory":     l.Holds(ops, func(*Value, bool) int { return 5 }),
		"b [tokens, 4] would lie where x": l.Holds(ops, size, x),
	} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %s", err, want)
		}
	}
}
