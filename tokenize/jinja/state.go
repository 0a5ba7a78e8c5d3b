package jinja

import "time"

// Limits bound one rendering. A zero field takes its default.
type Limits struct {
	Output int // bytes of text, and of any one value made on the way; default 32 MiB
	Alloc  int // bytes made in all, counting what was dropped again; default 512 MiB
	Steps  int // nodes evaluated and items visited; default 20 million
	Depth  int // macro calls inside one another, and values nested in one another; default 200
}

// Options of one rendering. The zero value is good.
type Options struct {
	Limits Limits
	Now    func() time.Time // what strftime_now tells; default time.Now
}

func (l Limits) withDefaults() Limits {
	set := func(p *int, d int) {
		if *p <= 0 {
			*p = d
		}
	}
	set(&l.Output, 32<<20)
	set(&l.Alloc, 512<<20)
	set(&l.Steps, 20_000_000)
	set(&l.Depth, 200)
	return l
}

// state is one rendering: the text so far and what is left of the bounds.
type state struct {
	vars  map[string]Value
	now   func() time.Time
	lim   Limits
	out   []byte // text of the innermost capture
	steps int
	made  int
	depth int

	captured string // operand of the filters of the block being left
}

// frame holds the variables of one run of the template, a macro or a
// recursive loop. up is the frame it was defined in.
type frame struct {
	vars []Value
	up   *frame
}

func newFrame(n int, up *frame) *frame {
	f := &frame{vars: make([]Value, n), up: up}
	for i := range f.vars {
		f.vars[i] = missing
	}
	return f
}

func (f *frame) outer(up int) *frame {
	for ; up > 0; up-- {
		f = f.up
	}
	return f
}

// step charges n units of work.
func (st *state) step(n int) error {
	st.steps += n
	if st.steps > st.lim.Steps || st.steps < 0 {
		return limitErr("the template takes more than %d steps", st.lim.Steps)
	}
	return nil
}

// scan charges the reading of n bytes.
func (st *state) scan(n int) error { return st.step(1 + n>>8) }

// weigh is scan where a step was charged already: short texts cost nothing.
func (st *state) weigh(n int) error { return st.step(n >> 8) }

// chew charges n bytes of text that are looked at one character at a time and
// with care, such as those of which another case is made.
func (st *state) chew(s string) error {
	if isASCII(s) {
		return st.scan(len(s))
	}
	return st.step(1 + len(s)>>3)
}

// alloc charges a value of n bytes before it is made.
func (st *state) alloc(n int) error {
	if n < 0 || n > st.lim.Output {
		return limitErr("the template makes a value of more than %d bytes", st.lim.Output)
	}
	st.made += n
	if st.made > st.lim.Alloc {
		return limitErr("the template makes more than %d bytes in all", st.lim.Alloc)
	}
	return st.step(1 + n>>8)
}

const wordSize = 16 // bytes charged for an element of a list

func (st *state) allocList(n int) error {
	if n > st.lim.Output/wordSize {
		return st.alloc(-1)
	}
	return st.alloc(n * wordSize)
}

// write appends to the text of the innermost capture.
func (st *state) write(s string) error {
	if len(st.out)+len(s) > st.lim.Output {
		return limitErr("the text is longer than %d bytes", st.lim.Output)
	}
	st.out = append(st.out, s...)
	return nil
}

// enter counts one level of recursion, leave ends it.
func (st *state) enter() error {
	if st.depth++; st.depth > st.lim.Depth {
		st.depth--
		return errf("RecursionError", "the template recurses more than %d levels deep", st.lim.Depth)
	}
	return nil
}

func (st *state) leave() { st.depth-- }

// capture runs body with its text collected apart.
func (st *state) capture(body func() (control, error)) (string, control, error) {
	saved := st.out
	st.out = nil
	c, err := body()
	text := st.out
	st.out = saved
	if err == nil {
		err = st.alloc(len(text))
	}
	return string(text), c, err
}

// lookup finds a variable that the template does not set: the caller's, then a
// global function.
func (st *state) lookup(name string) Value {
	if v, ok := st.vars[name]; ok {
		return v
	}
	if v, ok := globals[name]; ok {
		return v
	}
	return missing
}
