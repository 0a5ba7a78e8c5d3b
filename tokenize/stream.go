package tokenize

import "slices"

// Stream decodes ids one at a time. It holds back what the next ids may still
// change, so that its output never takes anything back, and all of it joined
// is what Decode returns for all the ids.
type Stream struct {
	t      *Tokenizer
	skip   bool
	shown  []int32
	stages []stage
	sinks  []sink // sinks[i] feeds stages[i]; the last appends to out
	out    []byte
}

// Stream starts decoding a text; with skipSpecial, without special tokens but
// those that are to be shown. A Stream serves one goroutine.
func (t *Tokenizer) Stream(skipSpecial bool, shown ...int32) *Stream {
	s := &Stream{t: t, skip: skipSpecial, shown: shown}
	s.sinks = make([]sink, len(t.stages)+1)
	s.sinks[len(t.stages)] = func(b []byte) { s.out = append(s.out, b...) }
	for i, f := range t.stages {
		st := f()
		s.stages = append(s.stages, st)
		s.sinks[i] = func(b []byte) { st.token(b, s.sinks[i+1]) }
	}
	return s
}

// Append appends the text that id completes to dst: whole characters, maybe
// none. Ids that have no token add nothing.
func (s *Stream) Append(dst []byte, id int32) []byte {
	if s.skip && s.t.IsSpecial(id) && !slices.Contains(s.shown, id) {
		return dst
	}
	b := s.t.vocab.bytes(id)
	if b == nil {
		return dst
	}
	if shown, ok := s.t.added.shown[id]; ok {
		b = shown
	}
	s.out = dst
	s.sinks[0](b)
	dst, s.out = s.out, nil
	return dst
}

// Flush appends what was held back. The stream is over.
func (s *Stream) Flush(dst []byte) []byte {
	s.out = dst
	for i, st := range s.stages {
		st.flush(s.sinks[i+1])
	}
	dst, s.out = s.out, nil
	return dst
}

// DecodeEnds is Decode, and says how long the text was after each id.
func (t *Tokenizer) DecodeEnds(ids []int32, skipSpecial bool) (text []byte, ends []int) {
	s := t.Stream(skipSpecial)
	for _, id := range ids {
		text = s.Append(text, id)
		ends = append(ends, len(text))
	}
	text = s.Flush(text)
	if n := len(ends); n > 0 {
		ends[n-1] = len(text)
	}
	return text, ends
}

// Decode returns the text of ids; with skipSpecial, without special tokens.
func (t *Tokenizer) Decode(ids []int32, skipSpecial bool) string {
	s := t.Stream(skipSpecial)
	var out []byte
	for _, id := range ids {
		out = s.Append(out, id)
	}
	return string(s.Flush(out))
}
