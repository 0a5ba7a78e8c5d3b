package tokenize

import "unicode/utf8"

// utf8Repair makes a stream of bytes valid UTF-8: each maximal part of a
// broken character becomes one U+FFFD (Unicode 3.9, "Substitution of Maximal
// Subparts"). It holds back a character's bytes until the last has come.
type utf8Repair struct {
	buf [utf8.UTFMax]byte
	n   int
}

// appendTo appends b, repaired, to dst.
func (h *utf8Repair) appendTo(dst, b []byte) []byte {
	for h.n > 0 && len(b) > 0 {
		if !mayFollow(h.buf[:h.n], b[0]) {
			dst = append(dst, "\uFFFD"...)
			h.n = 0
			break
		}
		h.buf[h.n] = b[0]
		h.n++
		b = b[1:]
		if utf8.FullRune(h.buf[:h.n]) {
			dst = append(dst, h.buf[:h.n]...)
			h.n = 0
		}
	}
	for len(b) > 0 {
		n := validLen(b)
		dst = append(dst, b[:n]...)
		if b = b[n:]; len(b) == 0 {
			break
		}
		k := 1
		for k < len(b) && mayFollow(b[:k], b[k]) {
			k++
		}
		if k == len(b) && isLead(b[0]) {
			h.n = copy(h.buf[:], b)
			break
		}
		dst = append(dst, "\uFFFD"...)
		b = b[k:]
	}
	return dst
}

// flush ends the stream: a character begun stays broken.
func (h *utf8Repair) flush(dst []byte) []byte {
	if h.n > 0 {
		dst = append(dst, "\uFFFD"...)
	}
	h.n = 0
	return dst
}

// validLen is the length of the longest valid prefix of b.
func validLen(b []byte) int {
	i := 0
	for i < len(b) {
		if b[i] < utf8.RuneSelf {
			i++
			continue
		}
		r, n := utf8.DecodeRune(b[i:])
		if r == utf8.RuneError && n == 1 {
			break
		}
		i += n
	}
	return i
}

func isLead(c byte) bool { return 0xC2 <= c && c <= 0xF4 }

// mayFollow reports whether a character that starts with part, which is
// shorter than the character, can go on with c.
func mayFollow(part []byte, c byte) bool {
	lo, hi := byte(0x80), byte(0xBF)
	lead := part[0]
	switch {
	case !isLead(lead):
		return false
	case len(part) == 1:
		switch lead {
		case 0xE0:
			lo = 0xA0
		case 0xED:
			hi = 0x9F
		case 0xF0:
			lo = 0x90
		case 0xF4:
			hi = 0x8F
		}
	case len(part) == 2 && lead < 0xE0, len(part) == 3 && lead < 0xF0, len(part) == 4:
		return false
	}
	return lo <= c && c <= hi
}

// appendLossy appends b with its broken characters replaced.
func appendLossy(dst, b []byte) []byte {
	var h utf8Repair
	return h.flush(h.appendTo(dst, b))
}
