package wire

import (
	"math/bits"
	"slices"

	"google.golang.org/protobuf/encoding/protowire"
)

// Of all that crosses, tokens are the most: an output for every one. Those that have nothing else with
// them, nearly all, are written and read here, in the very encoding that outputFields makes (held to it by
// TestTokens), ten times as fast as by going over fields.

// The tags of an output's plain fields, one byte each, and of an output in a batch.
const (
	tagSlot     = 1<<3 | byte(protowire.VarintType)
	tagEpoch    = 2<<3 | byte(protowire.VarintType)
	tagToken    = 3<<3 | byte(protowire.VarintType)
	tagReason   = 4<<3 | byte(protowire.VarintType)
	tagAccepted = 5<<3 | byte(protowire.VarintType)
	tagOutput   = 4<<3 | byte(protowire.BytesType)
)

// plain reports whether there is nothing but these fields.
func (o *Output) plain() bool {
	return o.Logprob == nil && o.Progress == nil && o.Fault == nil && len(o.Scores) == 0
}

// outputs are a batch's.
func (c *codec) outputs(p *[]Output) {
	if !c.reading {
		for i := range *p {
			if o := &(*p)[i]; o.plain() {
				c.out = o.append(c.out)
			} else {
				within(c, 4, o, outputFields)
			}
		}
		return
	}
	if !c.at(4, protowire.BytesType) {
		return
	}
	*p = append(*p, Output{})
	o := &(*p)[len(*p)-1]
	if !o.read(c.bytes) {
		*o = Output{}
		c.err = decode(c.bytes, o, outputFields, c.depth+1)
	}
}

// append writes a plain output.
func (o *Output) append(b []byte) []byte {
	b = append(b, tagOutput, 0)
	at := len(b)
	if o.Slot != 0 {
		b = protowire.AppendVarint(append(b, tagSlot), uint64(o.Slot))
	}
	if o.Epoch != 0 {
		b = protowire.AppendVarint(append(b, tagEpoch), uint64(o.Epoch))
	}
	if o.Token != 0 {
		b = protowire.AppendVarint(append(b, tagToken), uint64(o.Token))
	}
	if o.Reason != 0 {
		b = protowire.AppendVarint(append(b, tagReason), uint64(o.Reason))
	}
	if o.Accepted {
		b = append(b, tagAccepted, 1)
	}
	b[at-1] = byte(len(b) - at) // 27 at most
	return b
}

// read reads a plain output, whose fields may come in any order; false: it is none, or what is wrong with
// it is for others to say.
func (o *Output) read(b []byte) bool {
	for len(b) > 0 {
		tag := b[0]
		v, n := uint64(0), 0
		if len(b) > 1 && b[1] < 0x80 {
			v, n = uint64(b[1]), 1
		} else if v, n = protowire.ConsumeVarint(b[1:]); n < 0 {
			return false
		}
		b = b[1+n:]
		switch {
		case tag == tagSlot && bits.Len64(v) <= 32:
			o.Slot = uint32(v)
		case tag == tagEpoch && bits.Len64(v) <= 32:
			o.Epoch = uint32(v)
		case tag == tagToken && uint64(int32(v)) == v:
			o.Token = int32(v)
		case tag == tagReason && v < 256:
			o.Reason = Reason(v)
		case tag == tagAccepted:
			o.Accepted = v != 0
		default:
			return false
		}
	}
	return true
}

// room is about how many bytes a batch takes.
func (b *Batch) room() int { return 32 + 16*len(b.Outputs) }

const (
	usual     = 10 // bytes that a token takes
	fewTokens = 16
)

// decodeBatch reads a batch of tokens into one that was released.
func decodeBatch(b []byte, depth int) (*Batch, error) {
	out := batches.Get().(*Batch)
	if n := len(b) / usual; n > fewTokens { // else they grow as they come
		out.Outputs = slices.Grow(out.Outputs, n)
	}
	for len(b) > 0 {
		if n := len(b); n > 2 && b[0] == tagOutput && int(b[1]) < min(0x80, n-1) {
			end := 2 + int(b[1])
			out.Outputs = append(out.Outputs, Output{})
			if o := &out.Outputs[len(out.Outputs)-1]; o.read(b[2:end]) {
				b = b[end:]
				continue
			}
			out.Outputs = out.Outputs[:len(out.Outputs)-1]
		}
		_, _, n := protowire.ConsumeField(b)
		if n < 0 {
			n = len(b) // what is wrong with it is said there
		}
		if err := decode(b[:n], out, batchFields, depth); err != nil {
			return nil, err
		}
		b = b[n:]
	}
	return out, nil
}
