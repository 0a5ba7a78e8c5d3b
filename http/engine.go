package http

import (
	"github.com/troupe-llm/troupe/actors"
	"github.com/troupe-llm/troupe/gpu/batch"
	"github.com/troupe-llm/troupe/http/internal/dialect/model"
)

// engine is what this package asks of an actors.System.
type engine interface {
	Submit(*actors.Request) (stream, error) // the request has a Wake
	Info() info
	Stats() actors.Stats
	Requests(most int) []actors.OpenRequest
	Ready() bool
	Tokenizer() model.Tokenizer // nil: the model has none
}

// stream is what this package asks of an *actors.Stream.
type stream interface {
	Take(*actors.Output) bool
	Cancel()
}

// system adapts an actors.System.
type system struct{ *actors.System }

func (s system) Submit(r *actors.Request) (stream, error) {
	st, err := s.System.Submit(r)
	if err != nil { // not a nil *Stream in a stream
		return nil, err
	}
	return st, nil
}

func (s system) Tokenizer() model.Tokenizer {
	if t := s.System.Tokenizer(); t != nil {
		return t
	}
	return nil
}

// info is what does not change about an engine.
type info struct {
	model    string // its name
	vocab    int    // token ids are below it
	maxLen   int    // tokens a request may have, prompt and answer
	slots    int    // requests that may run at once
	pageSize int    // tokens a page of KV memory
	sampling batch.Sampling

	device, hardware, weights, kvDType string // as the log has them
}

func (s system) Info() info {
	m, d := s.Model(), s.Device()
	return info{
		model: m.Name, vocab: d.Vocab, maxLen: d.MaxSeqLen, slots: d.Slots, pageSize: d.PageSize,
		sampling: *s.Defaults(),
		device:   d.Name, hardware: d.Hardware, weights: d.Formats(), kvDType: string(d.KVDType),
	}
}
