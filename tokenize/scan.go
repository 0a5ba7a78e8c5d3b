package tokenize

// scanner is a split pattern written by hand: it returns the end of the match
// that starts at s[i:], or i when none does. s is valid UTF-8, i < len(s).
//
// Each is equal to the regular expression it is filed under; the tests compare
// them with the general path.
type scanner func(s string, i int) int

// scanners by pattern.
var scanners = map[string]scanner{
	gpt2Pattern: scanGPT2,
	// Qwen2, Qwen3
	`(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+`: scanCL100K(letter, 1),
	// Llama 3, GPT-4
	`(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+`: scanCL100K(letter, 3),
	// Qwen3.5
	`(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+`: scanCL100K(letter|mark, 1),
	// gpt-oss, GPT-4o, Llama 4
	`[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+`: scanO200K(true, 3),
	// Mistral's Tekken
	`[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+`: scanO200K(false, 1),
	// DeepSeek-V3, one after another
	`\p{N}{1,3}`:   func(s string, i int) int { return upTo(s, i, number, 3) },
	`[一-龥぀-ゟ゠-ヿ]+`: scanHanKana,
	"[!\"#$%&'()*+,\\-./:;<=>?@\\[\\\\\\]^_`{|}~][A-Za-z]+|[^\\r\\n\\p{L}\\p{P}\\p{S}]?[\\p{L}\\p{M}]+| ?[\\p{P}\\p{S}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+": scanDeepSeek,
}

// starts holds, for patterns that match little of a text, the bytes that a match
// may start with: most of the text need not be scanned.
var starts = map[string]func(c byte) bool{
	`\p{N}{1,3}`:   func(c byte) bool { return '0' <= c && c <= '9' || c >= 0xC2 },
	`[一-龥぀-ゟ゠-ヿ]+`: func(c byte) bool { return 0xE3 <= c && c <= 0xE9 },
}

// matches makes a scanner a matcher.
func (f scanner) matches(s string, dst []int) []int {
	for i := 0; i < len(s); {
		end := f(s, i)
		if end > i {
			dst = append(dst, i, end)
			i = end
			continue
		}
		_, n := classAt(s, i)
		i += n
	}
	return dst
}

// scanCL100K is the pattern of GPT-4's cl100k_base and its descendants, which
// differ in what a word consists of and in how many digits go together.
func scanCL100K(word uint8, digits int) scanner {
	return func(s string, i int) int {
		c, n := classAt(s, i)
		next := i + n
		switch {
		case c&word != 0:
			return run(s, next, word)
		case c&number != 0:
			return upTo(s, next, number, digits-1)
		case s[i] == '\'':
			if end := contraction(s, i); end > i {
				return end
			}
		}
		// One character other than a line break goes with the word after it.
		if next < len(s) {
			d, m := classAt(s, next)
			if d&word != 0 && c&newline == 0 {
				return run(s, next+m, word)
			}
			if s[i] == ' ' && d&(space|word|number) == 0 {
				return run(s, runNot(s, next+m, space|word|number), newline)
			}
		}
		if c&space == 0 {
			return run(s, runNot(s, next, space|word|number), newline)
		}
		return blank(s, i)
	}
}

// scanGPT2 is gpt2Pattern.
func scanGPT2(s string, i int) int {
	if s[i] == '\'' {
		if end := plainContraction(s, i); end > i {
			return end
		}
	}
	c, n := classAt(s, i)
	next := i + n
	if s[i] == ' ' && next < len(s) {
		if d, m := classAt(s, next); d&space == 0 {
			c, next = d, next+m
		}
	}
	switch {
	case c&letter != 0:
		return run(s, next, letter)
	case c&number != 0:
		return run(s, next, number)
	case c&space == 0:
		return runNot(s, next, space|letter|number)
	}
	end := run(s, next, space)
	if end == len(s) {
		return end
	}
	return beforeLast(s, i, end)
}

// blank matches \s*[\r\n]+|\s+(?!\S)|\s+ where s[i:] starts with a space.
func blank(s string, i int) int {
	end, last := i, -1 // last: after the last line break
	for end < len(s) {
		c, n := classAt(s, end)
		if c&space == 0 {
			break
		}
		end += n
		if c&newline != 0 {
			last = end
		}
	}
	switch {
	case last >= 0:
		return last
	case end == len(s):
		return end
	}
	return beforeLast(s, i, end)
}

// beforeLast leaves the last of the spaces s[i:end] to what follows, if there
// are two or more.
func beforeLast(s string, i, end int) int {
	at := end - 1
	for at > i && s[at]&0xC0 == 0x80 {
		at--
	}
	if at == i {
		return end
	}
	return at
}

// upTo matches at most n characters of a class.
func upTo(s string, i int, class uint8, n int) int {
	for ; n > 0 && i < len(s); n-- {
		c, size := classAt(s, i)
		if c&class == 0 {
			break
		}
		i += size
	}
	return i
}

// plainContraction matches 's|'t|'re|'ve|'m|'ll|'d, where s[i] is the quote.
func plainContraction(s string, i int) int {
	if i+1 < len(s) {
		switch s[i+1] {
		case 's', 't', 'm', 'd':
			return i + 2
		}
	}
	if i+2 < len(s) {
		switch s[i+1 : i+3] {
		case "re", "ve", "ll":
			return i + 3
		}
	}
	return i
}

// contraction is plainContraction in any case; ſ (U+017F) is an s.
func contraction(s string, i int) int {
	if i+1 < len(s) {
		switch s[i+1] | 0x20 {
		case 's', 't', 'm', 'd':
			if s[i+1] >= 'A' {
				return i + 2
			}
		}
	}
	if i+2 < len(s) {
		if s[i+1:i+3] == "ſ" {
			return i + 3
		}
		a, b := s[i+1]|0x20, s[i+2]|0x20
		if s[i+1] < 0x80 && s[i+2] < 0x80 && (b == 'e' && (a == 'r' || a == 'v') || a == 'l' && b == 'l') {
			return i + 3
		}
	}
	return i
}

// scanO200K is the pattern of GPT-4o's o200k_base: words that begin a new
// piece at a capital.
func scanO200K(contractions bool, digits int) scanner {
	return func(s string, i int) int {
		c, n := classAt(s, i)
		next := i + n
		end := -1
		// One character other than a line break goes with the word after it.
		prefix := c&(letter|number|newline) == 0 && next < len(s)
		if prefix {
			end = lowerEnding(s, next)
		}
		if end < 0 {
			end = lowerEnding(s, i)
		}
		if end < 0 && prefix {
			end = upperStart(s, next)
		}
		if end < 0 {
			end = upperStart(s, i)
		}
		if end >= 0 {
			if contractions && end < len(s) && s[end] == '\'' {
				return contraction(s, end)
			}
			return end
		}
		if c&number != 0 {
			return upTo(s, next, number, digits-1)
		}
		from := i
		if s[i] == ' ' {
			from = next
		}
		if end := runNot(s, from, space|letter|number); end > from {
			for end < len(s) && (s[end] == '\r' || s[end] == '\n' || s[end] == '/') {
				end++
			}
			return end
		}
		return blank(s, i)
	}
}

// lowerEnding matches [upper]*[lower]+ (the classes overlap), or returns -1.
func lowerEnding(s string, i int) int {
	end := -1
	for i < len(s) {
		c, n := classAt(s, i)
		if c&upper == 0 {
			break
		}
		i += n
		if c&lower != 0 {
			end = i
		}
	}
	if j := run(s, i, lower); j > i {
		return j
	}
	return end
}

// upperStart matches [upper]+[lower]*, or returns -1.
func upperStart(s string, i int) int {
	end := run(s, i, upper)
	if end == i {
		return -1
	}
	return run(s, end, lower)
}

// scanHanKana matches [一-龥぀-ゟ゠-ヿ]+.
func scanHanKana(s string, i int) int {
	for i < len(s) && s[i] >= 0xE3 {
		r, n := runeAt(s, i)
		if (r < 0x4E00 || r > 0x9FA5) && (r < 0x3040 || r > 0x30FF) {
			break
		}
		i += n
	}
	return i
}

// scanDeepSeek is the last pattern of DeepSeek-V3. It matches no digits, nor
// control characters that stand before no letter.
func scanDeepSeek(s string, i int) int {
	c, n := classAt(s, i)
	next := i + n
	if c&symbols != 0 && s[i] < 0x80 {
		end := next
		for end < len(s) && 'a' <= s[end]|0x20 && s[end]|0x20 <= 'z' && s[end] < 0x80 {
			end++
		}
		if end > next {
			return end
		}
	}
	if c&(letter|mark) != 0 {
		return run(s, next, letter|mark)
	}
	if c&(newline|symbols) == 0 {
		if end := run(s, next, letter|mark); end > next {
			return end
		}
	}
	from := i
	if s[i] == ' ' {
		from = next
	}
	if end := run(s, from, symbols); end > from {
		return run(s, end, newline)
	}
	if c&space == 0 {
		return i
	}
	return blank(s, i)
}
