package tokenize

import "unicode/utf8"

// Byte-level vocabularies spell each byte as a printable character: the
// printable Latin-1 bytes as themselves, the others, in order, as U+0100 and
// on. (The table of GPT-2's encoder.)
var (
	byteRune [256]rune
	runeByte [0x144]int16 // -1: not in the alphabet
)

func init() {
	for i := range runeByte {
		runeByte[i] = -1
	}
	next := rune(0x100)
	for b := range byteRune {
		r := rune(b)
		if b < '!' || b > '~' && b < 0xA1 || b == 0xAD {
			r = next
			next++
		}
		byteRune[b] = r
		runeByte[r] = int16(b)
	}
}

// unspell appends the bytes that a byte-level token stands for. It reports
// false, appending nothing, when a character is not in the alphabet.
func unspell(dst, token []byte) ([]byte, bool) {
	n := len(dst)
	for i := 0; i < len(token); {
		r, size := rune(token[i]), 1
		if r >= utf8.RuneSelf {
			r, size = utf8.DecodeRune(token[i:])
		}
		if int(r) >= len(runeByte) || runeByte[r] < 0 {
			return dst[:n], false
		}
		dst = append(dst, byte(runeByte[r]))
		i += size
	}
	return dst, true
}
