package wire

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/troupe-llm/troupe/gpu/batch"
)

// Of all that crosses, tokens are the most. So a batch has of every output three numbers of four bytes
// in one field, which are read in one pass, without an allocation for any of them. What few outputs have
// besides comes in fields of its own, log-probabilities in columns.

const (
	tagOutputs = 4<<3 | byte(protowire.BytesType)
	tokenSize  = 3 * 4 // slot, epoch, token
)

var (
	errOutputs  = fmt.Errorf("wire: an output has %d bytes, for its slot, epoch and token", tokenSize)
	errOutput   = errors.New("wire: more is said of an output than there are")
	errLogprobs = errors.New("wire: columns of log-probabilities have another length than they must")
)

// outputs are a batch's: what all of them have, and behind that what some have.
func (c *codec) outputs(p *[]Output) {
	if c.reading {
		c.readOutputs(p)
		return
	}
	all := *p
	if len(all) == 0 {
		return
	}
	c.out = protowire.AppendVarint(append(c.out, tagOutputs), uint64(tokenSize*len(all)))
	at := len(c.out)
	c.out = slices.Grow(c.out, tokenSize*len(all))[:at+tokenSize*len(all)]
	b := c.out[at:]
	plain := true
	for i := range all {
		o, to := &all[i], b[tokenSize*i:][:tokenSize]
		binary.LittleEndian.PutUint32(to, o.Slot)
		binary.LittleEndian.PutUint32(to[4:], o.Epoch)
		binary.LittleEndian.PutUint32(to[8:], uint32(o.Token))
		plain = plain && o.Logprob == nil && !o.more()
	}
	if !plain {
		c.writeMore(all)
	}
}

// readOutputs reads the field at hand, of which that with all outputs comes first.
func (c *codec) readOutputs(p *[]Output) {
	switch {
	case c.at(4, protowire.BytesType):
		c.readTokens(p)
	case c.at(5, protowire.BytesType):
		c.readMore(*p)
	case c.at(6, protowire.BytesType):
		var d drawn
		if c.err = decode(c.bytes, &d, drawnFields, c.depth+1); c.err == nil {
			c.err = d.give(*p)
		}
	}
}

// readTokens reads what all outputs have.
func (c *codec) readTokens(p *[]Output) {
	if len(c.bytes)%tokenSize != 0 {
		c.err = errOutputs
		return
	}
	n, before := len(c.bytes)/tokenSize, len(*p)
	all := slices.Grow(*p, n)[:before+n]
	for i := range n {
		from := c.bytes[tokenSize*i:][:tokenSize]
		all[before+i] = Output{
			Ref:   Ref{Slot: binary.LittleEndian.Uint32(from), Epoch: binary.LittleEndian.Uint32(from[4:])},
			Token: int32(binary.LittleEndian.Uint32(from[8:])),
		}
	}
	*p = all
}

// more reports whether there is anything but a name, a token and its log-probability.
func (o *Output) more() bool {
	return o.Reason != Running || o.Accepted || o.Progress != nil || o.Fault != nil || len(o.Scores) > 0 || o.Rejected > 0
}

// more is what an output has besides those: all but Ref, Token and Logprob.
type more struct {
	at uint32 // which of the outputs
	Output
}

func moreFields(c *codec, m *more) {
	number(c, 1, &m.at)
	number(c, 2, &m.Reason)
	c.boolean(3, &m.Accepted)
	c.logprobs(4, &m.Scores)
	optional(c, 5, &m.Progress, progressFields)
	optional(c, 6, &m.Fault, faultFields)
	number(c, 7, &m.Rejected)
}

// writeMore writes what some outputs have.
func (c *codec) writeMore(all []Output) {
	var d drawn
	for i := range all {
		o := &all[i]
		if o.more() {
			within(c, 5, &more{uint32(i), *o}, moreFields)
		}
		if o.Logprob != nil {
			d.at, d.logprobs = append(d.at, uint32(i)), append(d.logprobs, *o.Logprob)
		}
	}
	message(c, 6, &d, drawnFields)
}

func (c *codec) readMore(all []Output) {
	var m more
	if c.err = decode(c.bytes, &m, moreFields, c.depth+1); c.err != nil {
		return
	}
	if int(m.at) >= len(all) {
		c.err = errOutput
		return
	}
	o := &all[m.at]
	m.Ref, m.Token, m.Logprob = o.Ref, o.Token, o.Logprob
	*o = m.Output
}

// drawn are log-probabilities of the tokens of some outputs.
type drawn struct {
	at       []uint32 // which outputs
	logprobs []batch.Logprob
}

func drawnFields(c *codec, d *drawn) {
	numbers(c, 1, &d.at)
	c.logprobs(2, &d.logprobs)
}

// give has the outputs point at theirs.
func (d *drawn) give(all []Output) error {
	if len(d.at) != len(d.logprobs) {
		return errLogprobs
	}
	for i, at := range d.at {
		if int(at) >= len(all) {
			return errOutput
		}
		all[at].Logprob = &d.logprobs[i]
	}
	return nil
}

// logprobs are log-probabilities, column by column.
func (c *codec) logprobs(num protowire.Number, p *[]batch.Logprob) {
	if !c.reading {
		if len(*p) > 0 {
			l := columnsOf(*p)
			within(c, num, &l, columnsFields)
		}
		return
	}
	if c.at(num, protowire.BytesType) {
		var l columns
		if c.err = decode(c.bytes, &l, columnsFields, c.depth+1); c.err == nil {
			*p, c.err = l.logprobs()
		}
	}
}

// columns are log-probabilities of tokens, how many alternatives each has, and those of all.
type columns struct {
	drawn  []float32
	tops   []uint32
	tokens []int32
	theirs []float32
}

func columnsFields(c *codec, l *columns) {
	c.floats(1, &l.drawn)
	numbers(c, 2, &l.tops)
	numbers(c, 3, &l.tokens)
	c.floats(4, &l.theirs)
}

func columnsOf(all []batch.Logprob) (l columns) {
	for i := range all {
		l.drawn, l.tops = append(l.drawn, all[i].Token), append(l.tops, uint32(len(all[i].Top)))
		for _, t := range all[i].Top {
			l.tokens, l.theirs = append(l.tokens, t.Token), append(l.theirs, t.Logprob)
		}
	}
	return l
}

// logprobs are the rows, which share their memory.
func (l *columns) logprobs() ([]batch.Logprob, error) {
	if len(l.tops) != len(l.drawn) || len(l.theirs) != len(l.tokens) {
		return nil, errLogprobs
	}
	top := make([]batch.TokenLogprob, len(l.tokens))
	for i := range top {
		top[i] = batch.TokenLogprob{Token: l.tokens[i], Logprob: l.theirs[i]}
	}
	all := make([]batch.Logprob, len(l.drawn))
	for i, n := range l.tops {
		if int(n) > len(top) {
			return nil, errLogprobs
		}
		all[i].Token = l.drawn[i]
		if n > 0 {
			all[i].Top, top = top[:n:n], top[n:]
		}
	}
	if len(top) > 0 {
		return nil, errLogprobs
	}
	return all, nil
}

// room is about how many bytes a batch takes.
func (b *Batch) room() int { return 64 + tokenSize*len(b.Outputs) }

// decodeBatch reads a batch into one that was released.
func decodeBatch(b []byte, depth int) (*Batch, error) {
	out := batches.Get().(*Batch)
	return out, decode(b, out, batchFields, depth)
}
