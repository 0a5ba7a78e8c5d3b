package tokenize

import (
	"fmt"
	"unicode/utf8"
)

// What the parts of a tokenizer may do to a text. Each of them is linear in the text
// it is given; these bounds keep all of them together so.
const (
	maxParts   = 64      // normalizers, pre-tokenizers or decoders, those in Sequences too
	maxGrowth  = 128     // times the length of a text
	maxAround  = 1 << 12 // bytes put around it besides
	maxLiteral = 1 << 10 // bytes of a string that is replaced or looked for
	maxStrip   = 1 << 10 // characters that the decoder Strip takes from an end
)

// bounded refuses parts that would make more of a text, or of an answer, than there
// was, time and again.
func (f *file) bounded() error {
	for _, x := range []struct {
		what string
		root *part
	}{{"normalizer", f.normalizer}, {"pre_tokenizer", f.pre}, {"decoder", f.decoder}} {
		if x.root == nil {
			continue
		}
		parts := x.root.all(nil)
		if len(parts) > maxParts {
			return fmt.Errorf("%s: more than %d in a row are not taken", x.what, maxParts)
		}
		times, around := 1.0, 0.0
		for _, p := range parts {
			if err := p.bounded(); err != nil {
				return fmt.Errorf("%s %s: %w", x.what, p.Type, err)
			}
			t, a := p.growth()
			times, around = times*t, around*t+a
		}
		if times > maxGrowth || around > maxAround {
			return fmt.Errorf("%s: makes a text up to %.3g times as long, and %.3g bytes longer; at most %d times and %d bytes are taken",
				x.what, times, around, maxGrowth, maxAround)
		}
	}
	return nil
}

// all appends the parts in the order they work in.
func (p *part) all(dst []*part) []*part {
	dst = append(dst, p)
	for _, list := range [][]part{p.Normalizers, p.Pretokenizers, p.Decoders} {
		for i := range list {
			if len(dst) > maxParts {
				return dst
			}
			dst = list[i].all(dst)
		}
	}
	return dst
}

func (p *part) bounded() error {
	if p.Pattern != nil && p.Pattern.String != nil && len(*p.Pattern.String) > maxLiteral {
		return fmt.Errorf("a pattern of %d bytes; at most %d are taken", len(*p.Pattern.String), maxLiteral)
	}
	if max(p.Start, p.Stop) > maxStrip || min(p.Start, p.Stop) < 0 {
		return fmt.Errorf("start %d and stop %d; want 0 to %d", p.Start, p.Stop, maxStrip)
	}
	return nil
}

// growth tells how much longer a part makes a text at most: so many times, and by so
// many bytes. Those of Unicode's forms are the standard's own (UAX #15, for UTF-8).
func (p *part) growth() (times, around float64) {
	switch p.Type {
	case "NFC", "NFD":
		return 3, 0
	case "NFKC", "NFKD":
		return 11, 0
	case "Lowercase": // İ becomes three bytes, Ⱥ too
		return 1.5, 0
	case "Prepend":
		return 1, float64(len(p.Prepend))
	case "Replace":
		if p.Pattern != nil && p.Pattern.String != nil && *p.Pattern.String != "" {
			return max(1, float64(len(p.Content))/float64(len(*p.Pattern.String))), 0
		}
		return 1 + float64(len(p.Content)), float64(len(p.Content)) // between any two bytes
	case "Metaspace":
		return 2 * utf8.UTFMax, utf8.UTFMax // a mark for each space, and before each piece
	case "ByteLevel":
		return 1, 1
	}
	return 1, 0
}
