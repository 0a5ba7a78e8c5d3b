package program

import (
	"fmt"
	"slices"
)

// Layout says which values share memory: values with memory of their own whose
// lives do not overlap.
type Layout struct {
	// Buffers are how large each must be, in the unit of the sizes it was made of.
	Buffers []Buffer
	// At is each value's buffer.
	At map[*Value]int
}

// Buffer is memory for one value at a time, each with as many rows.
type Buffer struct {
	Rows     Rows
	PerToken int // of Entries
	Row      int // the size of the largest row
}

// Lay gives the values of ops memory. size is what a row of a value takes; inside
// says that the value stays inside of one fused op, and 0 that it needs no memory.
// keep are values that are used behind the ops.
//
// The result of an op never lies where what the op reads does.
func Lay(ops []Op, size func(v *Value, inside bool) int, keep ...*Value) *Layout {
	l := livesOf(ops)
	for _, v := range keep {
		l.last[v.Whole()] = len(ops)
	}
	inside := map[*Value]bool{}
	out := &Layout{At: map[*Value]int{}}
	var free []int
	ends := map[int][]*Value{}
	for i, o := range ops {
		u := o.Uses()
		for _, v := range u.Inside {
			if !slices.Contains(keep, v) {
				l.last[v], inside[v] = i, true
			}
		}
		for _, list := range [][]*Value{u.Writes, u.Reads, u.Inside} {
			for _, v := range list {
				whole := v.Whole()
				bytes := size(whole, inside[whole])
				if _, placed := out.At[whole]; placed || bytes == 0 {
					continue
				}
				out.At[whole], free = out.place(whole, bytes, free)
				ends[l.last[whole]] = append(ends[l.last[whole]], whole)
			}
		}
		for _, v := range ends[i] {
			free = append(free, out.At[v])
		}
	}
	return out
}

// Holds says why other ops of the same program cannot use the layout: a value has
// no memory there, or lies where another does that is still used.
func (l *Layout) Holds(ops []Op, size func(v *Value, inside bool) int, keep ...*Value) error {
	lives, held := livesOf(ops), map[int]*Value{}
	for _, v := range keep {
		lives.last[v.Whole()] = len(ops)
	}
	for i, o := range ops {
		u := o.Uses()
		inside := map[*Value]bool{}
		for _, v := range u.Inside {
			if !slices.Contains(keep, v) {
				lives.last[v], inside[v] = i, true
			}
		}
		for _, list := range [][]*Value{u.Writes, u.Reads, u.Inside} {
			for _, v := range list {
				whole := v.Whole()
				bytes := size(whole, inside[whole])
				if bytes == 0 {
					continue
				}
				at, placed := l.At[whole]
				if !placed || l.Buffers[at].Row < bytes {
					return fmt.Errorf("%s has no memory", whole)
				}
				if other := held[at]; other != nil && other != whole && lives.last[other] >= i {
					return fmt.Errorf("%s would lie where %s does", whole, other)
				}
				held[at] = whole
			}
		}
	}
	return nil
}

// place finds a free buffer for a value, or makes one: of those with as many rows
// the one that has to grow the least.
func (l *Layout) place(v *Value, size int, free []int) (buffer int, left []int) {
	best := -1
	for i, b := range free {
		if f := l.Buffers[b]; f.Rows != v.Rows || f.PerToken != v.PerToken {
			continue
		}
		if best < 0 || l.waste(b, size) < l.waste(free[best], size) {
			best = i
		}
	}
	if best < 0 {
		l.Buffers = append(l.Buffers, Buffer{v.Rows, v.PerToken, size})
		return len(l.Buffers) - 1, free
	}
	b := free[best]
	l.Buffers[b].Row = max(l.Buffers[b].Row, size)
	return b, append(free[:best:best], free[best+1:]...)
}

// waste is how far a buffer's size and a value's are from each other.
func (l *Layout) waste(buffer, size int) int {
	return max(l.Buffers[buffer].Row-size, size-l.Buffers[buffer].Row)
}
