package program

import (
	"fmt"
	"slices"
)

// Rows says how many rows a value has in a step.
type Rows int

const (
	Tokens  Rows = iota // one for each new token
	Sampled             // one for each token whose logits are looked at
	Entries             // one for each new token and each of its experts, expert by expert
)

func (r Rows) String() string { return [...]string{"tokens", "sampled", "entries"}[r] }

// Value is what ops read and write: a matrix with a row for each of Rows.
type Value struct {
	Name  string // "layers.3.qkv"; unique in a program
	Rows  Rows
	Width int
	// Base is the value of which this one is columns [At, At+Width); nil: it has
	// memory of its own. Bases have no bases.
	Base *Value
	At   int
	// PerToken is how many Entries a token has. Where experts are spread over Ranks,
	// there is room for all, and so many times fewer of them on average.
	PerToken, Ranks int
}

// Whole is the value that has the memory: Base, or the value itself.
func (v *Value) Whole() *Value {
	if v.Base != nil {
		return v.Base
	}
	return v
}

func (v *Value) String() string { return fmt.Sprintf("%s [%s, %d]", v.Name, v.Rows, v.Width) }

// Cache is what a layer keeps of every position in pages: a key and a value for
// each of Heads.
type Cache struct {
	Name     string
	Heads    int
	KeyDim   int
	ValueDim int
	// Window is how many positions a token sees, itself included; 0: all. What
	// no later token sees may be forgotten.
	Window int
	// Shared says that values are the leading elements of keys, and kept once.
	Shared bool
}

// Elements is how many numbers it keeps of a position.
func (c *Cache) Elements() int {
	if c.Shared {
		return c.Heads * c.KeyDim
	}
	return c.Heads * (c.KeyDim + c.ValueDim)
}

// State is what a layer keeps of a request whatever its length: a recurrent
// layer's. It is zero before the first token.
type State struct {
	Name     string
	Elements int // float32
}

// Rotary turns the leading Dims elements of a head by angles that grow with the
// position (Su et al., arXiv:2104.09864): pair (i, i+Dims/2) of the token at
// position p by p·InvFreq[i], in float32 as in training. What kind of scaling
// made the frequencies is the family's affair.
type Rotary struct {
	Dims    int
	InvFreq []float64 // [Dims/2], radians a position
	// Scale multiplies cosines and sines: YaRN's attention factor; else 1.
	Scale float64
	// Long takes the place of InvFreq where sequences may have more than LongFrom
	// tokens; nil: nothing does (LongRoPE, arXiv:2402.13753). One choice for all
	// requests lets them share pages.
	Long     []float64
	LongFrom int
}

// Frequencies are those for sequences of at most so many tokens.
func (r *Rotary) Frequencies(maxSeqLen int) []float64 {
	if r.Long != nil && maxSeqLen > r.LongFrom {
		return r.Long
	}
	return r.InvFreq
}

// Equal reports whether both turn alike.
func (r *Rotary) Equal(o *Rotary) bool {
	return r.Dims == o.Dims && r.Scale == o.Scale && slices.Equal(r.InvFreq, o.InvFreq) && slices.Equal(r.Long, o.Long) && r.LongFrom == o.LongFrom
}
