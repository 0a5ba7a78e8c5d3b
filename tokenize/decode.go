package tokenize

import (
	"bytes"
	"fmt"
	"strconv"
	"unicode/utf8"
)

// A stage is one decoder at work on a stream: it receives tokens and passes
// them on, rewritten, as soon as nothing to come can change them. Feeding it
// the whole text at once or token by token gives the same bytes.
type stage interface {
	// token receives one token, as text. The bytes are valid during the call.
	token(b []byte, out sink)
	// flush passes on what was held back: there are no more tokens.
	flush(out sink)
}

// sink is the next stage, or the end of the line.
type sink func(token []byte)

type newStage func() stage

// newStages lists the decoders in order, each a fresh stage for every stream.
func newStages(p *part) ([]newStage, error) {
	if p == nil {
		return []newStage{func() stage { return &joinStage{} }}, nil
	}
	fused := false
	return appendStages(nil, p, &fused)
}

// appendStages tracks whether all tokens have been fused into one by now.
func appendStages(dst []newStage, p *part, fused *bool) ([]newStage, error) {
	add := func(f newStage) ([]newStage, error) { return append(dst, f), nil }
	switch p.Type {
	case "Sequence":
		var err error
		for i := range p.Decoders {
			if dst, err = appendStages(dst, &p.Decoders[i], fused); err != nil {
				return nil, err
			}
		}
		return dst, nil
	case "Fuse":
		*fused = true
		return dst, nil
	case "ByteLevel":
		if *fused {
			break
		}
		*fused = true
		return add(func() stage { return &byteLevelStage{} })
	case "ByteFallback":
		if *fused {
			break
		}
		return add(func() stage { return &byteFallbackStage{} })
	case "Metaspace":
		if *fused {
			break
		}
		mark, never := []byte(p.Replacement), p.PrependScheme == "never" || p.AddPrefixSpace != nil && !*p.AddPrefixSpace
		if len(mark) == 0 {
			mark = []byte("▁")
		}
		return add(func() stage { return &metaspaceStage{mark: mark, started: never} })
	case "Strip":
		r, n := utf8.DecodeRuneInString(p.Content)
		if n == 0 || n != len(p.Content) {
			return nil, fmt.Errorf("decoder Strip: content %q; want one character", p.Content)
		}
		c := []byte(string(r))
		if *fused {
			return add(func() stage { return &stripStage{c: c, start: p.Start, stop: p.Stop} })
		}
		return add(func() stage { return stripEach{c, p.Start, p.Stop} })
	case "Replace":
		m, err := newMatcher(p.Pattern)
		if err != nil {
			return nil, fmt.Errorf("decoder Replace: %w", err)
		}
		lit, isLit := m.(literal)
		if *fused {
			if !isLit {
				return nil, fmt.Errorf("decoder Replace: a regular expression after Fuse: not supported")
			}
			return add(func() stage { return &replaceStage{old: []byte(lit), new: []byte(p.Content)} })
		}
		return add(func() stage { return replaceEach{m, p.Content} })
	}
	if *fused {
		return nil, fmt.Errorf("decoder %s after Fuse: not supported", p.Type)
	}
	return nil, fmt.Errorf("decoder %s: not supported", p.Type)
}

// joinStage puts spaces between tokens: what having no decoder means.
type joinStage struct{ started bool }

func (j *joinStage) token(b []byte, out sink) {
	if j.started {
		out([]byte{' '})
	}
	j.started = true
	out(b)
}

func (*joinStage) flush(sink) {}

// byteLevelStage maps the byte alphabet back to bytes.
type byteLevelStage struct {
	raw, buf []byte
	held     utf8Repair
}

func (s *byteLevelStage) token(b []byte, out sink) {
	var ok bool
	if s.raw, ok = unspell(s.raw[:0], b); !ok {
		s.raw = append(s.raw[:0], b...)
	}
	s.buf = s.held.appendTo(s.buf[:0], s.raw)
	if len(s.buf) > 0 {
		out(s.buf)
	}
}

func (s *byteLevelStage) flush(out sink) {
	if b := s.held.flush(nil); len(b) > 0 {
		out(b)
	}
}

// byteFallbackStage turns runs of <0xNN> into text. A run with an invalid
// byte anywhere is all replacement characters, so a run is held to its end.
type byteFallbackStage struct{ run []byte }

func (s *byteFallbackStage) token(b []byte, out sink) {
	if c, ok := byteToken(b); ok {
		s.run = append(s.run, c)
		return
	}
	s.flush(out)
	out(b)
}

func (s *byteFallbackStage) flush(out sink) {
	if len(s.run) == 0 {
		return
	}
	if utf8.Valid(s.run) {
		out(s.run)
	} else {
		for range s.run {
			out([]byte("\uFFFD"))
		}
	}
	s.run = s.run[:0]
}

// byteToken reads <0xNN>.
func byteToken(b []byte) (byte, bool) {
	if len(b) != 6 || b[5] != '>' || !bytes.HasPrefix(b, []byte("<0x")) {
		return 0, false
	}
	n, err := strconv.ParseUint(string(b[3:5]), 16, 8)
	return byte(n), err == nil
}

// metaspaceStage turns marks into spaces, but drops those of the first token.
type metaspaceStage struct {
	mark    []byte
	started bool
}

func (s *metaspaceStage) token(b []byte, out sink) {
	space := []byte{' '}
	if !s.started {
		space = nil
	}
	s.started = true
	out(bytes.ReplaceAll(b, s.mark, space))
}

func (*metaspaceStage) flush(sink) {}

// replaceEach replaces within each token.
type replaceEach struct {
	m   matcher
	new string
}

func (s replaceEach) token(b []byte, out sink) {
	at := s.m.matches(string(b), nil)
	if len(at) == 0 {
		out(b)
		return
	}
	var buf []byte
	last := 0
	for ; len(at) > 0; at = at[2:] {
		buf = append(append(buf, b[last:at[0]]...), s.new...)
		last = at[1]
	}
	out(append(buf, b[last:]...))
}

func (replaceEach) flush(sink) {}

// stripEach strips each token.
type stripEach struct {
	c           []byte
	start, stop int
}

func (s stripEach) token(b []byte, out sink) {
	for range s.start {
		b = bytes.TrimPrefix(b, s.c)
	}
	for range s.stop {
		b = bytes.TrimSuffix(b, s.c)
	}
	out(b)
}

func (stripEach) flush(sink) {}

// stripStage strips the whole text.
type stripStage struct {
	c           []byte
	start, stop int
	held        []byte // trailing c, at most stop of them
}

func (s *stripStage) token(b []byte, out sink) {
	for ; s.start > 0 && len(b) > 0; s.start-- {
		if !bytes.HasPrefix(b, s.c) {
			s.start = 0
			break
		}
		b = b[len(s.c):]
	}
	if s.stop == 0 {
		if len(b) > 0 {
			out(b)
		}
		return
	}
	b = append(s.held, b...)
	end := len(b)
	for n := 0; n < s.stop && bytes.HasSuffix(b[:end], s.c); n++ {
		end -= len(s.c)
	}
	if end > 0 {
		out(b[:end])
	}
	s.held = append([]byte(nil), b[end:]...)
}

func (s *stripStage) flush(sink) {}

// replaceStage replaces a string wherever it is in the whole text.
type replaceStage struct {
	old, new []byte
	held     []byte // may be the start of old
}

func (s *replaceStage) token(b []byte, out sink) {
	b = append(s.held, b...)
	for {
		i := bytes.Index(b, s.old)
		if i < 0 {
			break
		}
		if i > 0 {
			out(b[:i])
		}
		out(s.new)
		b = b[i+len(s.old):]
	}
	keep := min(len(b), len(s.old)-1)
	for !bytes.HasPrefix(s.old, b[len(b)-keep:]) {
		keep--
	}
	if n := len(b) - keep; n > 0 {
		out(b[:n])
	}
	s.held = append([]byte(nil), b[len(b)-keep:]...)
}

func (s *replaceStage) flush(out sink) {
	if len(s.held) > 0 {
		out(s.held)
	}
	s.held = nil
}

// cleanUp is what transformers does for clean_up_tokenization_spaces.
var cleanUp = func() (all []newStage) {
	for _, r := range [][2]string{
		{" .", "."},
		{" ?", "?"},
		{" !", "!"},
		{" ,", ","},
		{" ' ", "'"},
		{" n't", "n't"},
		{" 'm", "'m"},
		{" 's", "'s"},
		{" 've", "'ve"},
		{" 're", "'re"},
	} {
		all = append(all, func() stage { return &replaceStage{old: []byte(r[0]), new: []byte(r[1])} })
	}
	return all
}()
