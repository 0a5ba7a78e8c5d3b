package grammar

import "fmt"

// Source is a description as plain data, to be sent or kept: what Spec's functions made it of.
type Source struct {
	Kind      byte
	Text      string // of a literal, an expression, a schema or rules
	Parts     []Source
	Low, High int // of a repetition; Low is the index of markers
	Markers   []string
	Path      string // what At was given
}

// maxParts is how deep the parts of a source may lie in each other.
const maxParts = 64

// Source is the description as data, of which FromSource makes the same again.
func (s *Spec) Source() Source {
	out := Source{Kind: byte(s.kind), Text: s.source, Low: s.low, High: s.high, Markers: s.markers, Path: s.path}
	for _, p := range s.parts {
		out.Parts = append(out.Parts, p.Source())
	}
	return out
}

// FromSource is the description that a source is of. What it describes Compile checks; this only
// refuses what no description is.
func FromSource(s Source) (*Spec, error) { return fromSource(&s, maxParts) }

func fromSource(s *Source, depth int) (*Spec, error) {
	k := kind(s.Kind)
	parts := 0
	switch k {
	case kindLiteral, kindRegex, kindSchema, kindObject, kindText, kindRules, kindQuoted, kindTrigger:
	case kindRepeat:
		parts = 1
	case kindSequence, kindChoice:
		parts = len(s.Parts)
	default:
		return nil, fmt.Errorf("a grammar of kind %q: there is none", s.Kind)
	}
	switch {
	case len(s.Parts) != parts:
		return nil, fmt.Errorf("a grammar of kind %q has %d parts; it must have %d", s.Kind, len(s.Parts), parts)
	case k == kindTrigger && (s.Low < -1 || s.Low >= len(s.Markers)):
		return nil, fmt.Errorf("marker %d of %d ends a text", s.Low, len(s.Markers))
	case depth == 0:
		return nil, fmt.Errorf("a grammar's parts lie more than %d deep", maxParts)
	}
	out := &Spec{kind: k, source: s.Text, low: s.Low, high: s.High, markers: s.Markers, path: s.Path}
	for i := range s.Parts {
		p, err := fromSource(&s.Parts[i], depth-1)
		if err != nil {
			return nil, err
		}
		out.parts = append(out.parts, p)
	}
	return out, nil
}
