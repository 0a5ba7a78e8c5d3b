package program

import "math"

// Route chooses each token's experts by its logits, the PerToken of largest
// score, among equals the first. A score is the softmax over all experts, or with
// Sigmoid σ of the logit alone. Expert e of the chosen S counts
//
//	w_e = Scale · score_e, with Normalize divided by Σ_{i∈S} score_i
//
// With a Correction that is added to scores for choosing alone (arXiv:2408.15664).
// With Groups only experts of the GroupsTaken groups are chosen whose two largest
// scores add up to the most (arXiv:2412.19437).
type Route struct {
	Logits              *Value  // [tokens, experts]
	Routes              *Value  // [tokens, PerToken]: which experts, and what each counts
	Correction          *Weight // [experts]; nil: none
	Groups, GroupsTaken int     // 0: all experts are one group
	Sigmoid, Normalize  bool
	Scale               float32
	// Of the experts, Here from First on are this rank's, whose entries alone there
	// are; 0: all are.
	First, Here int
}

func (o *Route) Name() string { return "route" }

func (o *Route) Uses() Uses {
	u := Uses{Reads: values(o.Logits), Writes: values(o.Routes)}
	if o.Correction != nil {
		u.Weights = weights(o.Correction)
	}
	return u
}

func (o *Route) Cost(p *Pass) Cost {
	n := p.Rows(o.Logits)
	c := Cost{Rows: n + 2*p.Rows(o.Routes), FLOPs: 4 * n}
	if o.Correction != nil {
		c.Weight, c.Share = o.Correction, 1
	}
	return c
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
	experts := o.Weight.Experts() * max(o.Out.Ranks, 1)
	return Cost{
		Weight: o.Weight, Share: Touched(experts, o.Routes.Width, p.Tokens) / float64(experts),
		Rows:  entries*float64(o.Weight.In()) + p.Rows(o.Out),
		FLOPs: 2 * entries * float64(o.Weight.In()) * float64(o.Weight.Out()),
	}
}

// ExpertBias adds to each entry its expert's bias, in place.
type ExpertBias struct {
	X, Routes *Value
	Bias      *Weight // [experts, n]
}

func (o *ExpertBias) Name() string { return o.Bias.Role }

func (o *ExpertBias) Uses() Uses {
	return Uses{Reads: values(o.X, o.Routes), Writes: values(o.X), Weights: weights(o.Bias)}
}

func (o *ExpertBias) Cost(p *Pass) Cost {
	n, experts := p.Rows(o.X), o.Bias.Shape[0]*max(o.X.Ranks, 1)
	return Cost{Weight: o.Bias, Share: Touched(experts, o.Routes.Width, p.Tokens) / float64(experts), Rows: 2 * n, FLOPs: n}
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
