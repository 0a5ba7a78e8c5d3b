package wire

import (
	"errors"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/troupe-llm/troupe/gpu/batch"
	"github.com/troupe-llm/troupe/tokenize/grammar"
)

// Encode is the request in bytes.
func (r *Request) Encode() []byte { return encode(make([]byte, 0, r.room()), r, requestFields) }

// room is about how many bytes a request takes.
func (r *Request) room() int { return 128 + 3*(len(r.Prompt)+len(r.Given)) }

// DecodeRequest reads a request. What it asks for is checked by whoever computes it.
func DecodeRequest(b []byte) (*Request, error) {
	r := new(Request)
	return r, decode(b, r, requestFields, 0)
}

// Encode is the batch in bytes.
func (b *Batch) Encode() []byte { return encode(make([]byte, 0, b.room()), b, batchFields) }

// DecodeBatch reads a batch.
func DecodeBatch(b []byte) (*Batch, error) { return decodeBatch(b, 0) }

// Encode is the ref in bytes, as who cancels sends it.
func (r Ref) Encode() []byte { return encode(nil, &r, refFields) }

// DecodeRef reads a ref.
func DecodeRef(b []byte) (r Ref, err error) { return r, decode(b, &r, refFields, 0) }

// Encode is the prefixes in bytes: nine for every page.
func (p *Prefixes) Encode() []byte { return encode(nil, p, prefixesFields) }

// DecodePrefixes reads prefixes.
func DecodePrefixes(b []byte) (*Prefixes, error) {
	p := new(Prefixes)
	return p, decode(b, p, prefixesFields, 0)
}

// Encode is the identity in bytes.
func (i *Identity) Encode() []byte { return encode(nil, i, identityFields) }

// DecodeIdentity reads an identity.
func DecodeIdentity(b []byte) (*Identity, error) {
	i := new(Identity)
	return i, decode(b, i, identityFields, 0)
}

func refFields(c *codec, r *Ref) {
	number(c, 1, &r.Slot)
	number(c, 2, &r.Epoch)
}

func requestFields(c *codec, r *Request) {
	message(c, 1, &r.Ref, refFields)
	number(c, 2, &r.ID)
	numbers(c, 3, &r.Prompt)
	numbers(c, 4, &r.Given)
	number(c, 5, &r.MaxTokens)
	c.boolean(6, &r.PromptOnly)
	number(c, 7, &r.MinTokens)
	numbers(c, 8, &r.StopTokens)
	c.boolean(9, &r.IgnoreEOS)
	message(c, 10, &r.Sampling, samplingFields)
	c.boolean(11, &r.Score)
	c.spec(12, &r.Grammar)
	number(c, 13, &r.Priority)
	c.text(14, &r.Client)
	number(c, 15, &r.MaxWait)
	c.boolean(16, &r.Speculate)
	number(c, 17, &r.Owed)
}

func loadFields(c *codec, l *Load) {
	number(c, 1, &l.Open)
	number(c, 2, &l.Owed)
}

func samplingFields(c *codec, s *batch.Sampling) {
	c.float(1, &s.Temperature)
	number(c, 2, &s.TopK)
	c.float(3, &s.TopP)
	c.float(4, &s.MinP)
	number(c, 5, &s.Seed)
	c.float(6, &s.Presence)
	c.float(7, &s.Frequency)
	c.float(8, &s.Repetition)
	list(c, 9, &s.Bias, biasFields)
	numbers(c, 10, &s.Suppress)
	number(c, 11, &s.SuppressBelow)
	number(c, 12, &s.Logprobs)
}

func biasFields(c *codec, b *batch.TokenBias) {
	number(c, 1, &b.Token)
	c.float(2, &b.Bias)
}

// spec is a grammar, by its source.
func (c *codec) spec(num protowire.Number, p **grammar.Spec) {
	var source *grammar.Source
	if !c.reading && *p != nil {
		s := (*p).Source()
		source = &s
	}
	if optional(c, num, &source, sourceFields); c.reading && source != nil && c.err == nil {
		*p, c.err = grammar.FromSource(*source)
	}
}

func sourceFields(c *codec, s *grammar.Source) {
	number(c, 1, &s.Kind)
	c.text(2, &s.Text)
	list(c, 3, &s.Parts, sourceFields)
	number(c, 4, &s.Low)
	number(c, 5, &s.High)
	c.texts(6, &s.Markers)
	c.text(7, &s.Path)
}

func batchFields(c *codec, b *Batch) {
	number(c, 1, &b.Seq)
	number(c, 2, &b.Computed)
	number(c, 3, &b.About)
	c.outputs(&b.Outputs)
}

func progressFields(c *codec, p *Progress) {
	number(c, 1, &p.Queued)
	number(c, 2, &p.Started)
	number(c, 3, &p.First)
	number(c, 4, &p.Cached)
	number(c, 5, &p.Came)
}

func faultFields(c *codec, f *Fault) {
	number(c, 1, &f.Kind)
	c.text(2, &f.Param)
	c.text(3, &f.Msg)
	c.boolean(4, &f.TooLong)
}

var errPages = errors.New("wire: there are more pages said to be gone or not than pages")

// prefixesFields has the pages' hashes, and of those that are gone a number each.
func prefixesFields(c *codec, p *Prefixes) {
	number(c, 1, &p.Seq)
	c.boolean(2, &p.Whole)
	var hashes []uint64
	var gone []uint8
	if !c.reading {
		for _, page := range p.Pages {
			hashes = append(hashes, page.Hash)
			if gone = append(gone, 0); page.Gone {
				gone[len(gone)-1] = 1
			}
		}
	}
	c.hashes(3, &hashes)
	numbers(c, 4, &gone)
	if !c.reading {
		return
	}
	for _, hash := range hashes {
		p.Pages = append(p.Pages, Page{Hash: hash})
	}
	if len(gone) > len(p.Pages) {
		c.err = errPages
		return
	}
	for i, g := range gone {
		p.Pages[i].Gone = g != 0
	}
}

func identityFields(c *codec, i *Identity) {
	number(c, 1, &i.Version)
	c.text(2, &i.Model)
	c.text(3, &i.Weights)
	c.text(4, &i.Tokenizer)
	c.text(5, &i.Encoding)
	c.text(6, &i.Sizes)
}
