package model

// Params is the number of weights, a tied head counted once.
func (c *Config) Params() int64 {
	var n int64
	for _, p := range c.places(&Weights{Layers: make([]Layer, c.Layers)}) {
		n += elements(p.shape)
	}
	return n
}

// WeightBytes is the memory the weights take as dtype; "" means the
// checkpoint's.
func (c *Config) WeightBytes(dtype DType) int64 {
	return c.Params() * int64(c.orOwn(dtype).Size())
}

// KVBytesPerToken is the memory of one position's keys and values over all
// layers: 2·Layers·KVHeads·HeadDim elements of dtype; "" means the
// checkpoint's.
func (c *Config) KVBytesPerToken(dtype DType) int64 {
	return 2 * int64(c.Layers*c.KVHeads*c.HeadDim) * int64(c.orOwn(dtype).Size())
}

// FLOPsPerToken is what a token's matrix products cost in the layers: two for
// each weight of a matrix. Neither attention's products with cached keys and
// values (AttentionFLOPs) nor the head (HeadFLOPs), which only sampled
// positions need, is in it.
//
//	2·Layers·Hidden·((2·Heads + 2·KVHeads)·HeadDim + 3·Intermediate)
func (c *Config) FLOPsPerToken() int64 {
	return 2 * int64(c.Layers) * int64(c.Hidden) * int64((2*c.Heads+2*c.KVHeads)*c.HeadDim+3*c.Intermediate)
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
