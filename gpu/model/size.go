package model

import "math"

// Params is the number of weights, a tied head counted once, all experts
// counted.
func (c *Config) Params() int64 {
	var n int64
	for _, p := range c.places(c.blank()) {
		n += elements(p.shape)
	}
	return n
}

// ActiveParams is how many of them a token meets: those of PerToken experts
// alone where there are experts, else all.
func (c *Config) ActiveParams() int64 {
	if c.MoE == nil {
		return c.Params()
	}
	return c.Params() - int64(c.MoE.Experts-c.MoE.PerToken)*c.ExpertParams()
}

// ExpertParams is the number of weights of one expert of every layer:
// Layers·3·Hidden·MoE.Intermediate; 0 without experts.
func (c *Config) ExpertParams() int64 {
	if c.MoE == nil {
		return 0
	}
	return 3 * int64(c.Layers) * int64(c.Hidden) * int64(c.MoE.Intermediate)
}

// Touched is how many experts of a layer have work when tokens pass it, on
// average: if each token takes k of the E experts as likely as any other k,
// one expert is passed over by one token with probability 1−k/E, so
//
//	E·(1 − (1 − k/E)^tokens)
//
// Real routers favour some experts, and tokens of one text the same: they
// touch fewer.
func (m *MoE) Touched(tokens float64) float64 {
	e, k := float64(m.Experts), float64(m.PerToken)
	return e * (1 - math.Pow(1-k/e, tokens))
}

// WeightBytes is the memory the weights take as dtype, all experts; "" means
// the checkpoint's. Of Int8 are matrices alone, each output with its scale;
// norms and biases are float32 then.
func (c *Config) WeightBytes(dtype DType) int64 {
	dtype = c.orOwn(dtype)
	if dtype != Int8 {
		return c.Params() * int64(dtype.Size())
	}
	var n int64
	for _, p := range c.places(c.blank()) {
		if len(p.shape) == 2 {
			n += elements(p.shape)
		}
		n += 4 * int64(p.shape[0])
	}
	return n
}

// KVBytesPerToken is the memory of one position's keys and values over all
// layers: 2·Layers·KVHeads·HeadDim elements of dtype; "" means the
// checkpoint's.
func (c *Config) KVBytesPerToken(dtype DType) int64 {
	return 2 * int64(c.Layers*c.KVHeads*c.HeadDim) * int64(c.orOwn(dtype).Size())
}

// FLOPsPerToken is what a token's matrix products cost in the layers: two for
// each weight of a matrix that it meets. Neither attention's products with
// cached keys and values (AttentionFLOPs) nor the head (HeadFLOPs), which only
// sampled positions need, is in it.
//
//	2·Layers·Hidden·((2·Heads + 2·KVHeads)·HeadDim + MLP)
//
// MLP is 3·Intermediate, or with a mixture of experts the router's and those
// of the token's experts: MoE.Experts + 3·MoE.PerToken·MoE.Intermediate.
func (c *Config) FLOPsPerToken() int64 {
	mlp := 3 * c.Intermediate
	if m := c.MoE; m != nil {
		mlp = m.Experts + 3*m.PerToken*m.Intermediate
	}
	return 2 * int64(c.Layers) * int64(c.Hidden) * int64((2*c.Heads+2*c.KVHeads)*c.HeadDim+mlp)
}

// AttentionFLOPs is what one token's attention over context positions costs,
// all layers: a product with each key and each value for every query head.
//
//	4·Layers·Heads·HeadDim·context
func (c *Config) AttentionFLOPs(context int) int64 {
	return 4 * int64(c.Layers) * int64(c.Heads*c.HeadDim) * int64(context)
}

// HeadFLOPs is what one position's logits cost: 2·Vocab·Hidden.
func (c *Config) HeadFLOPs() int64 { return 2 * int64(c.Vocab) * int64(c.Hidden) }

func (c *Config) orOwn(dtype DType) DType {
	if dtype == "" {
		return c.DType
	}
	return dtype
}
