package plan

// heap is a binary heap whose items know their index, so that any can leave.
type heap[T item[T]] []T

type item[T any] interface {
	before(T) bool // whether it goes first
	place() *int   // its index
}

func (h *heap[T]) push(v T) {
	*v.place() = len(*h)
	*h = append(*h, v)
	h.up(len(*h) - 1)
}

func (h *heap[T]) remove(v T) {
	all := *h
	i, last := *v.place(), len(all)-1
	h.swap(i, last)
	var none T
	all[last] = none
	if *h = all[:last]; i != last {
		h.fix(i)
	}
}

// fix puts the item at i, whose order has changed, where it belongs.
func (h *heap[T]) fix(i int) {
	if !h.down(i) {
		h.up(i)
	}
}

// order puts all where they belong, after any has changed.
func (h *heap[T]) order() {
	for i := len(*h)/2 - 1; i >= 0; i-- {
		h.down(i)
	}
}

func (h *heap[T]) up(i int) {
	for p := (i - 1) / 2; i > 0 && (*h)[i].before((*h)[p]); p = (i - 1) / 2 {
		h.swap(i, p)
		i = p
	}
}

func (h *heap[T]) down(i int) (moved bool) {
	all := *h
	for {
		c := 2*i + 1
		if c+1 < len(all) && all[c+1].before(all[c]) {
			c++
		}
		if c >= len(all) || !all[c].before(all[i]) {
			return moved
		}
		h.swap(i, c)
		i, moved = c, true
	}
}

func (h *heap[T]) swap(i, j int) {
	all := *h
	all[i], all[j] = all[j], all[i]
	*all[i].place(), *all[j].place() = i, j
}
