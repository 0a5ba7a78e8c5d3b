package tokenize

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
)

// file is tokenizer.json as read: small parts as structs, the vocabulary and
// the merges as their raw bytes.
type file struct {
	added      []addedToken
	normalizer *part
	pre        *part
	post       *part
	decoder    *part
	model      modelPart
}

// part is any normalizer, pre-tokenizer, post-processor or decoder: the union
// of their fields, told apart by Type.
type part struct {
	Type string

	Normalizers   []part
	Pretokenizers []part
	Processors    []part
	Decoders      []part

	Pattern  *pattern
	Content  string
	Prepend  string
	Behavior string
	Invert   bool

	StripLeft  bool `json:"strip_left"`
	StripRight bool `json:"strip_right"`
	Start      int
	Stop       int

	AddPrefixSpace   *bool `json:"add_prefix_space"`
	UseRegex         *bool `json:"use_regex"`
	IndividualDigits bool  `json:"individual_digits"`
	Replacement      string
	PrependScheme    string `json:"prepend_scheme"`
	Split            *bool

	Single        []piecePart
	SpecialTokens map[string]struct{ IDs []int32 } `json:"special_tokens"`
	Sep, Cls      json.RawMessage
}

type pattern struct{ String, Regex *string }

// piecePart is one element of a TemplateProcessing template.
type piecePart struct {
	SpecialToken *struct{ ID string }
	Sequence     *struct{ ID string }
}

type addedToken struct {
	ID         int32
	Content    string
	SingleWord bool `json:"single_word"`
	LStrip     bool
	RStrip     bool
	Normalized bool
	Special    bool
}

type modelPart struct {
	kind                  string
	vocab, merges         []byte
	unk                   *string
	prefix, suffix        *string
	dropout               *float64
	fuseUnk, byteFallback bool
	ignoreMerges          bool
}

func parseFile(b []byte) (*file, error) {
	r := &reader{b: b}
	f := &file{}
	r.object(func(key []byte) {
		switch string(key) {
		case "added_tokens":
			r.into(&f.added)
		case "normalizer":
			r.into(&f.normalizer)
		case "pre_tokenizer":
			r.into(&f.pre)
		case "post_processor":
			r.into(&f.post)
		case "decoder":
			r.into(&f.decoder)
		case "model":
			f.model.read(r)
		default:
			r.raw()
		}
	})
	return f, r.err
}

func (m *modelPart) read(r *reader) {
	r.object(func(key []byte) {
		switch string(key) {
		case "type":
			m.kind = string(r.str())
		case "vocab":
			m.vocab = r.raw()
		case "merges":
			m.merges = r.raw()
		case "unk_token":
			r.into(&m.unk)
		case "continuing_subword_prefix":
			r.into(&m.prefix)
		case "end_of_word_suffix":
			r.into(&m.suffix)
		case "dropout":
			r.into(&m.dropout)
		case "fuse_unk":
			r.into(&m.fuseUnk)
		case "byte_fallback":
			r.into(&m.byteFallback)
		case "ignore_merges":
			r.into(&m.ignoreMerges)
		default:
			r.raw()
		}
	})
}

// check refuses, by name, the models this package does not run.
func (m *modelPart) check() error {
	switch {
	case m.kind == "" && m.merges != nil, m.kind == "BPE":
	case m.kind == "":
		return errors.New("model: no type; want BPE")
	default:
		return fmt.Errorf("model %s: not supported; want BPE", m.kind)
	}
	if m.dropout != nil && *m.dropout != 0 {
		return errors.New("model BPE: dropout: not supported; want null")
	}
	if m.prefix != nil && *m.prefix != "" {
		return errors.New("model BPE: continuing_subword_prefix: not supported; want null")
	}
	if m.suffix != nil && *m.suffix != "" {
		return errors.New("model BPE: end_of_word_suffix: not supported; want null")
	}
	return nil
}

// readVocab reads {"token": id, …}.
func readVocab(raw []byte) (*vocab, error) {
	v := newVocab(len(raw) / 20)
	r := &reader{b: raw}
	var err error
	r.object(func(key []byte) {
		// The id is read first: it may not overwrite key, which is not a copy.
		id := r.number()
		if r.err != nil || err != nil {
			return
		}
		if err = v.check(key, id); err != nil {
			err = fmt.Errorf("model: vocab: %w", err)
		} else if !v.add(key, int32(id)) {
			err = fmt.Errorf("model: vocab: token %q and id %d are bound twice", key, id)
		}
	})
	return v, errors.Join(r.err, err)
}

// readMerges reads ["a b", …] or [["a", "b"], …], calling f with each pair.
func readMerges(raw []byte, f func(rank int, left, right []byte) error) error {
	r := &reader{b: raw}
	var err error
	var hold []byte
	rank := 0
	r.array(func() {
		var left, right []byte
		if r.next() == '[' {
			r.expect('[')
			hold = append(hold[:0], r.str()...)
			r.expect(',')
			left, right = hold, r.str()
			r.expect(']')
		} else {
			var ok bool
			left, right, ok = bytes.Cut(r.str(), []byte{' '})
			if r.err == nil && (!ok || bytes.IndexByte(right, ' ') >= 0) {
				r.fail("two tokens with a space between them")
			}
		}
		if r.err == nil && err == nil {
			err = f(rank, left, right)
		}
		rank++
	})
	return errors.Join(r.err, err)
}
