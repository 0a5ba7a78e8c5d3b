package tokenize

import (
	"errors"
	"fmt"
	"strings"
	"unicode"
)

// normalizer rewrites text before it is cut into pieces; nil leaves it alone.
type normalizer func(string) string

func newNormalizer(p *part) (normalizer, error) {
	if p == nil {
		return nil, nil
	}
	switch p.Type { // growth in bounds.go knows them all
	case "Sequence":
		return sequenceNormalizer(p.Normalizers)
	case "NFC":
		return nfc.normalizer(), nil
	case "NFD":
		return nfd.normalizer(), nil
	case "NFKC":
		return nfkc.normalizer(), nil
	case "NFKD":
		return nfkd.normalizer(), nil
	case "Lowercase":
		return lowercase, nil
	case "Prepend":
		return func(s string) string {
			if s == "" {
				return s
			}
			return p.Prepend + s
		}, nil
	case "Replace":
		return replacer(p)
	case "Strip":
		return func(s string) string {
			if p.StripLeft {
				s = strings.TrimLeftFunc(s, unicode.IsSpace)
			}
			if p.StripRight {
				s = strings.TrimRightFunc(s, unicode.IsSpace)
			}
			return s
		}, nil
	}
	return nil, fmt.Errorf("normalizer %s: not supported", p.Type)
}

func sequenceNormalizer(parts []part) (normalizer, error) {
	var all []normalizer
	for i := range parts {
		n, err := newNormalizer(&parts[i])
		if err != nil {
			return nil, err
		}
		if n != nil {
			all = append(all, n)
		}
	}
	if len(all) == 0 {
		return nil, nil
	}
	return func(s string) string {
		for _, n := range all {
			s = n(s)
		}
		return s
	}, nil
}

// lowercase maps each character by itself, as Rust's char::to_lowercase does:
// a final sigma is no special case.
func lowercase(s string) string {
	if !strings.ContainsFunc(s, func(r rune) bool { return r == 'İ' || toLower(r) != r }) {
		return s
	}
	var b strings.Builder
	for _, r := range s {
		if r == 'İ' {
			b.WriteString("i\u0307")
			continue
		}
		b.WriteRune(toLower(r))
	}
	return b.String()
}

// toLower is unicode.ToLower with the letters of Unicode 15.1 to 17.
func toLower(r rune) rune {
	switch {
	case r < 0x1C89:
	case r == 0x1C89, r == 0xA7CC, r == 0xA7CE, r == 0xA7D2, r == 0xA7D4, r == 0xA7DA:
		return r + 1
	case r == 0xA7CB:
		return 0x264
	case r == 0xA7DC:
		return 0x19B
	case 0x10D50 <= r && r <= 0x10D65:
		return r + 0x20
	case 0x16EA0 <= r && r <= 0x16EB8:
		return r + 0x1B
	}
	return unicode.ToLower(r)
}

// replacer serves the Replace normalizer.
func replacer(p *part) (normalizer, error) {
	m, err := newMatcher(p.Pattern)
	if err != nil {
		return nil, fmt.Errorf("normalizer Replace: %w", err)
	}
	if lit, ok := m.(literal); ok {
		return func(s string) string { return strings.ReplaceAll(s, string(lit), p.Content) }, nil
	}
	return func(s string) string {
		var b strings.Builder
		last := 0
		for at := m.matches(s, nil); len(at) > 0; at = at[2:] {
			b.WriteString(s[last:at[0]])
			b.WriteString(p.Content)
			last = at[1]
		}
		b.WriteString(s[last:])
		return b.String()
	}, nil
}

var errNoPattern = errors.New("no pattern; want {\"String\": …} or {\"Regex\": …}")
