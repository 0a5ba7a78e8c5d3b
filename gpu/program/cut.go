package program

// Cut says how a rank's weight was cut out of the whole one.
type Cut int

const (
	Replicated   Cut = iota // every rank has all of it
	ByOutput                // each computes some outputs
	ByInput                 // each sums over some inputs; sums are added up behind it
	ByVocabulary            // each has some tokens
	ByExpert                // each has some experts
)

func (c Cut) String() string {
	return [...]string{"replicated", "outputs", "inputs", "vocabulary", "experts"}[c]
}

// rows are outputs of a weight in the order that ranges give, those of experts
// counted one expert after the other; from says which of the weight's parts each
// part is of.
func (w *Weight) rows(ranges []Range) (parts []Part, from []int) {
	for _, r := range ranges {
		first := 0
		for i := range w.Parts {
			p := &w.Parts[i]
			lo, hi := max(r.At-first, 0), min(r.At+r.N-first, p.Rows)
			for _, part := range p.rows(lo, hi) {
				parts, from = append(parts, part), append(from, i)
			}
			first += p.Rows
		}
	}
	return parts, from
}

// rows are rows [lo, hi) of a part: the rest of a block, whole blocks, and the
// beginning of one.
func (p *Part) rows(lo, hi int) (list []Part) {
	for lo < hi {
		one := *p
		one.First = p.Row(lo)
		switch within := lo % p.Block; {
		case within == 0 && hi-lo >= p.Block:
			one.Rows = (hi - lo) / p.Block * p.Block
		default:
			one.Rows = min(p.Block-within, hi-lo)
			one.Block, one.Stride = one.Rows, one.Rows
		}
		list = append(list, one)
		lo += one.Rows
	}
	return list
}

// columns are all outputs of a weight, of some inputs alone.
func (w *Weight) columns(r Range) (parts []Part) {
	for _, p := range w.Parts {
		p.Column += r.At
		parts = append(parts, p)
	}
	return parts
}
