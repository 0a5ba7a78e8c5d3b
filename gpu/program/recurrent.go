package program

// Conv is a causal convolution of each channel by itself, and SiLU:
//
//	out[t] = silu(Σ_j weight[j]·in[t−K+1+j])    0 ≤ j < K
//
// State keeps the last K−1 inputs of a request.
type Conv struct {
	In, Out *Value
	Weight  *Weight // [channels, K]
	State   *State  // K−1 a channel
}

func (o *Conv) Name() string { return "conv" }

func (o *Conv) Uses() Uses {
	return Uses{Reads: values(o.In), Writes: values(o.Out), Weights: weights(o.Weight)}
}

func (o *Conv) Cost(p *Pass) Cost {
	n := p.Rows(o.In)
	return Cost{
		Weight: o.Weight, Share: 1, State: 2 * float64(len(p.Spans)*o.State.Elements),
		Rows: 2 * n, FLOPs: 2 * n * float64(o.Weight.In()),
	}
}

// Delta is the gated delta rule (arXiv:2412.06464), token by token, with a state
// S [KeyDim, ValueDim] for each head of values; key head h·KeyHeads/Heads is
// head h's. With q and k scaled to length 1, q by 1/√KeyDim more:
//
//	S  = S·exp(−exp(Decay)·softplus(a + StepBias))
//	S += k ⊗ σ(b)·(v − Sᵀk)
//	out = Sᵀq
type Delta struct {
	Query, Key, Value *Value // [tokens, KeyHeads·KeyDim], the same, [tokens, Heads·ValueDim]
	A, B              *Value // [tokens, Heads]
	Out               *Value // [tokens, Heads·ValueDim]
	Decay, StepBias   *Weight
	Heads, KeyHeads   int
	State             *State // Heads·KeyDim·ValueDim
}

func (o *Delta) Name() string { return "delta" }

func (o *Delta) Uses() Uses {
	return Uses{Reads: values(o.Query, o.Key, o.Value, o.A, o.B), Writes: values(o.Out), Weights: weights(o.Decay, o.StepBias)}
}

func (o *Delta) Cost(p *Pass) Cost {
	rows := 2*p.Rows(o.Query) + 2*p.Rows(o.Out) + 2*p.Rows(o.A)
	return Cost{
		State: 2 * float64(len(p.Spans)*o.State.Elements), Rows: rows,
		FLOPs: 7 * float64(p.Tokens*o.State.Elements),
	}
}
