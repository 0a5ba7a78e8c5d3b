package program

// Pass is what a step asks of a program: the numbers of rows, and what new
// tokens look back on.
type Pass struct {
	Tokens  int // new
	Sampled int // whose logits are looked at
	Spans   []Span

	looks map[int]Look
}

// Span is new tokens of one request, at positions from Start on.
type Span struct{ Start, Tokens int }

// NewPass is the pass of spans of which so many rows are sampled.
func NewPass(spans []Span, sampled int) *Pass {
	p := &Pass{Sampled: sampled, Spans: spans}
	for _, s := range spans {
		p.Tokens += s.Tokens
	}
	return p
}

// Rows is how many elements a value has in the pass.
func (p *Pass) Rows(v *Value) float64 {
	n := p.Tokens
	switch v.Rows {
	case Sampled:
		n = p.Sampled
	case Entries:
		return float64(n*v.PerToken) / float64(max(v.Ranks, 1)) * float64(v.Width)
	}
	return float64(n) * float64(v.Width)
}

// Look is what attention looks at: positions whose keys and values are read,
// each once for all new tokens of a span, and pairs of a new token and a
// position that it sees.
type Look struct{ Positions, Pairs float64 }

// Add adds what others look at.
func (l *Look) Add(o Look) {
	l.Positions += o.Positions
	l.Pairs += o.Pairs
}

// Look sums over spans, for tokens that see at most so many positions,
// themselves included; 0: all.
func (p *Pass) Look(window int) Look {
	if l, known := p.looks[window]; known {
		return l
	}
	var l Look
	for _, s := range p.Spans {
		l.Add(s.Look(window))
	}
	if p.looks == nil {
		p.looks = map[int]Look{}
	}
	p.looks[window] = l
	return l
}

// Look: see Pass.Look.
func (s Span) Look(window int) Look {
	start, n := float64(s.Start), float64(s.Tokens)
	if window == 0 || s.Start+s.Tokens <= window {
		return Look{start + n, n*start + n*(n+1)/2}
	}
	w := float64(window)
	// The first tokens may still see everything before them.
	full := max(0, min(n, w-start))
	return Look{min(start+n, w-1+n), full*start + full*(full+1)/2 + (n-full)*w}
}

// Cost is what an op must move and compute in a pass, in elements and
// operations; what an element takes is its holder's affair. A multiplication
// and an addition are two operations.
type Cost struct {
	Weight *Weight // that it reads; nil: none
	Share  float64 // of it
	Cache  float64 // elements of keys and values, read and written
	State  float64 // elements of states, read and written; float32
	Rows   float64 // elements of values, read and written
	Link   float64 // elements of values, sent to other ranks
	FLOPs  float64
}

// Sizes says what elements take, for who holds a program.
type Sizes struct {
	Weight func(*Weight) float64 // bytes of the whole weight
	Cache  float64               // bytes an element of keys and values
	// Speed is how many times the rate of others operations with a weight are done
	// at; nil: all are alike.
	Speed func(*Weight) float64
}

func (s *Sizes) speed(w *Weight) float64 {
	if s.Speed == nil || w == nil {
		return 1
	}
	return s.Speed(w)
}

// Bytes is what must be moved whatever is fused: weights, keys and values.
func (s *Sizes) Bytes(c Cost) float64 {
	n := s.Cache*c.Cache + 4*c.State
	if c.Weight != nil {
		n += c.Share * s.Weight(c.Weight)
	}
	return n
}

// Limit is how long a pass must take, op by op the longer of moving its bytes
// and of computing, at so many a second, times Sizes.Speed: the ops that read or
// write keys and values, and all others.
func (p *Program) Limit(pass *Pass, s *Sizes, bytes, flops float64) (cached, others float64) {
	for _, op := range p.Ops {
		c := op.Cost(pass)
		t := max(s.Bytes(c)/bytes, c.FLOPs/(flops*s.speed(c.Weight)))
		if c.Cache > 0 {
			cached += t
		} else {
			others += t
		}
	}
	return cached, others
}

// Params is the number of weights, those of all experts counted, a tied head
// once.
func (p *Program) Params() (n int64) {
	for _, w := range p.Weights {
		if w.Tied == nil {
			n += w.Elements()
		}
	}
	return n
}

// ActiveParams is how many of them a token meets: those of its experts alone
// where there are experts, else all.
func (p *Program) ActiveParams() int64 {
	n := p.Params()
	for _, op := range p.Ops {
		if x, ok := op.(*ExpertProduct); ok {
			n -= x.Weight.Elements() / int64(x.Weight.Experts()) * int64(x.Weight.Experts()-x.Routes.Width)
		}
	}
	return n
}

// CacheElements is how many numbers all layers keep of a position.
func (p *Program) CacheElements() (n int64) {
	for _, c := range p.Caches {
		n += int64(c.Elements())
	}
	return n
}

// Window is how many positions a token sees in the cache where it sees the most;
// 0: all of them.
func (p *Program) Window() (n int) {
	for _, c := range p.Caches {
		if c.Window == 0 {
			return 0
		}
		n = max(n, c.Window)
	}
	return n
}

// StateElements is how many numbers all layers keep of a request besides.
func (p *Program) StateElements() (n int64) {
	for _, s := range p.States {
		n += int64(s.Elements)
	}
	return n
}
