package program

import "math"

// Route chooses each token's experts: of the softmax of its logits the PerToken
// largest, among equals the first. With p the softmax over all experts and S the
// chosen ones, expert e of S counts p_e, or p_e / Σ_{i∈S} p_i with Normalize.
type Route struct {
	Logits    *Value // [tokens, experts]
	Routes    *Value // [tokens, PerToken]: which experts, and what each counts
	Normalize bool
}

func (o *Route) Name() string { return "route" }

func (o *Route) Uses() Uses { return Uses{Reads: values(o.Logits), Writes: values(o.Routes)} }

func (o *Route) Cost(p *Pass) Cost {
	n := p.Rows(o.Logits)
	return Cost{Rows: n + 2*p.Rows(o.Routes), FLOPs: 4 * n}
}

// ExpertProduct multiplies each entry by its expert's matrix. Rows of In are
// those of tokens, which are sent to their experts, or of entries.
type ExpertProduct struct {
	In, Routes, Out *Value
	Weight          *Weight // [experts, out, in]
}

func (o *ExpertProduct) Name() string { return o.Weight.Role }

func (o *ExpertProduct) Uses() Uses {
	return Uses{Reads: values(o.In, o.Routes), Writes: values(o.Out), Weights: weights(o.Weight)}
}

// Cost counts the weights of experts that have entries, on average.
func (o *ExpertProduct) Cost(p *Pass) Cost {
	entries := p.Rows(o.Out) / float64(o.Out.Width)
	return Cost{
		Weight: o.Weight, Share: Touched(o.Weight.Experts(), o.Routes.Width, p.Tokens) / float64(o.Weight.Experts()),
		Rows:  entries*float64(o.Weight.In()) + p.Rows(o.Out),
		FLOPs: 2 * entries * float64(o.Weight.In()) * float64(o.Weight.Out()),
	}
}

// Combine is out = Σ share·in over a token's entries.
type Combine struct {
	In, Routes, Out *Value
}

func (o *Combine) Name() string { return "combine" }

func (o *Combine) Uses() Uses {
	return Uses{Reads: values(o.In, o.Routes), Writes: values(o.Out)}
}

func (o *Combine) Cost(p *Pass) Cost {
	n := p.Rows(o.In)
	return Cost{Rows: n + p.Rows(o.Out), FLOPs: 2 * n}
}

// Touched is how many of a layer's experts have work when tokens pass it, on
// average: if each token takes k of E experts as likely as any other k, one
// expert is passed over by one token with probability 1−k/E, so
//
//	E·(1 − (1 − k/E)^tokens)
//
// Real routers favour some experts, and tokens of one text the same: they touch
// fewer.
func Touched(experts, perToken, tokens int) float64 {
	e, k := float64(experts), float64(perToken)
	return e * (1 - math.Pow(1-k/e, float64(tokens)))
}
