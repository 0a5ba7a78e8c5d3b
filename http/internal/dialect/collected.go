package dialect

import (
	"github.com/troupe-llm/troupe/actors"
	"github.com/troupe-llm/troupe/gpu/batch"
	"github.com/troupe-llm/troupe/tokenize/reply"
)

// Collected are the deltas of one choice put together, for a Writer that says all
// at the end.
type Collected struct {
	Message  reply.Message
	Tokens   []int32
	Logprobs []batch.Logprob
	TextEnds []int         // of a text that is not looked into
	Final    *actors.Final // nil while there is more
}

// Add puts a delta at the end. It copies.
func (c *Collected) Add(d *Delta) {
	for _, end := range d.TextEnds {
		c.TextEnds = append(c.TextEnds, len(c.Message.Text)+end)
	}
	c.Message.Add(d.Parts)
	c.Tokens = append(c.Tokens, d.Tokens...)
	c.Logprobs = append(c.Logprobs, d.Logprobs...)
	c.Final = d.Final
}
