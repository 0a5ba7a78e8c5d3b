package reply

import (
	"encoding/json"
	"slices"
	"strings"
)

// The twin reads a reply that is there as a whole: by recursion, with an index
// into the text, and nothing kept between bytes. Where no call goes on it
// names the byte at fault; the text goes on from there.

const blank = " \n\t\r"

// segment is a call, or the text between two.
type segment struct {
	call *ToolCall
	text string
}

func twin(o Options, s string) Message {
	var m Message
	after := false // whether what comes next follows reasoning or a call
	if start := strings.TrimLeft(s, blank); o.Think && (o.Opened || strings.HasPrefix(start, thinkMark)) {
		thought, rest, _ := strings.Cut(strings.TrimPrefix(start, thinkMark), thinkEnd)
		m.Reasoning = []byte(strings.Trim(thought, blank))
		s, after = rest, true
	}
	segments := twinSegments(o, s)
	for i, seg := range segments {
		if seg.call != nil {
			m.Calls = append(m.Calls, *seg.call)
			after = true
			continue
		}
		if after {
			seg.text = strings.TrimLeft(seg.text, blank)
		}
		if i+1 < len(segments) {
			seg.text = strings.TrimRight(seg.text, blank)
		}
		m.Text = append(m.Text, seg.text...)
	}
	return m
}

// twinSegments has texts and calls, no two texts in a row.
func twinSegments(o Options, s string) []segment {
	var all []segment
	text := ""
	add := func(c *ToolCall) {
		if text != "" {
			all = append(all, segment{text: text})
		}
		if c != nil {
			all = append(all, segment{call: c})
		}
		text = ""
	}
	tried := false
	for i := 0; i < len(s); {
		marked, at := true, len(s)
		if mark := o.Format.mark(); mark != "" {
			if k := strings.Index(s[i:], mark); k >= 0 {
				at = i + k
			}
		}
		if o.Format == Llama3 && !tried {
			if rest := strings.TrimLeft(s[i:], blank); strings.HasPrefix(rest, "{") {
				marked, at = false, len(s)-len(rest)
			}
		}
		text += s[i:at]
		if at == len(s) {
			break
		}
		tried = true
		rest := at // where what is no call begins
		if marked {
			at += len(o.Format.mark())
		}
		if o.Format == Mistral {
			rest, i = twinMistral(s, rest, at, add)
		} else {
			rest, i = twinObjects(o, s, rest, at, marked, add)
		}
		text += s[rest:i]
		if o.One && slices.ContainsFunc(all, func(seg segment) bool { return seg.call != nil }) {
			return all[:1+slices.IndexFunc(all, func(seg segment) bool { return seg.call != nil })]
		}
	}
	add(nil)
	return all
}

// twinObjects reads the calls at s[i:]. It returns up to where calls, or what
// announced them, were read, and the byte at which there were no more.
func twinObjects(o Options, s string, rest, i int, marked bool, add func(*ToolCall)) (int, int) {
	names := o.Names
	if marked {
		names = nil
	}
	call, end, ok := twinObject(s, i, names, marked)
	if !ok {
		return rest, end
	}
	add(call)
	if o.Format == Hermes {
		k := skipBlank(s, end)
		if strings.HasPrefix(s[k:], hermesEnd) {
			k += len(hermesEnd)
		}
		return k, k
	}
	for {
		k := skipBlank(s, end)
		if k < len(s) && s[k] == ';' {
			k = skipBlank(s, k+1)
		}
		if k == len(s) || s[k] != '{' {
			return end, k
		}
		call, next, ok := twinObject(s, k, o.Names, false)
		if !ok {
			return end, next
		}
		add(call)
		end = next
	}
}

func twinMistral(s string, rest, i int, add func(*ToolCall)) (int, int) {
	k := skipBlank(s, i)
	if k == len(s) || s[k] != '[' {
		return twinNamed(s, rest, k, add)
	}
	for {
		k = skipBlank(s, k+1)
		call, end, ok := twinObject(s, k, nil, true)
		if !ok {
			return rest, end
		}
		add(call)
		rest = end
		if k = skipBlank(s, end); k < len(s) && s[k] == ']' {
			return k + 1, k + 1
		}
		if k == len(s) || s[k] != ',' {
			return rest, k
		}
	}
}

func twinNamed(s string, rest, i int, add func(*ToolCall)) (int, int) {
	word := func(k int) int {
		for k < len(s) && strings.ContainsRune("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-.", rune(s[k])) {
			k++
		}
		return k
	}
	// agreed is where s stops to go on like any of the words.
	agreed := func(k int, words ...string) (int, string) {
		most := k
		for _, w := range words {
			n := 0
			for n < len(w) && k+n < len(s) && s[k+n] == w[n] {
				n++
			}
			if most = max(most, k+n); n == len(w) {
				return most, w
			}
		}
		return most, ""
	}
	k := word(i)
	if k == i {
		return rest, k
	}
	name := s[i:k]
	if k < len(s) && s[k] == '[' {
		var found string
		for {
			if k, found = agreed(k, mistralArgs, mistralID); found == "" {
				return rest, k
			}
			if found == mistralArgs {
				break
			}
			if k = word(k); k == len(s) || s[k] != '[' {
				return rest, k
			}
		}
		k = skipBlank(s, k)
	}
	if k == len(s) || s[k] != '{' {
		return rest, k
	}
	end, ok := twinValue(s, k)
	if !ok {
		return rest, end
	}
	add(&ToolCall{name, []byte(s[k:end])})
	return end, end
}

func skipBlank(s string, i int) int { return len(s) - len(strings.TrimLeft(s[i:], blank)) }

// twinObject reads a call's object and returns its end or the byte at fault.
func twinObject(s string, i int, names []string, anyName bool) (*ToolCall, int, bool) {
	name, args := "", ""
	named, argued := -1, -1 // where they became known
	fault := func(k int) (*ToolCall, int, bool) {
		// A name that is none of the tools' is noticed as soon as the call is known.
		if known := max(named, argued); named >= 0 && argued >= 0 && !anyName && !slices.Contains(names, name) {
			k = min(k, known)
		}
		return nil, k, false
	}
	if i = skipBlank(s, i); i == len(s) || s[i] != '{' {
		return fault(i)
	}
	for {
		if i = skipBlank(s, i+1); i == len(s) || s[i] != '"' {
			return fault(i)
		}
		end, ok := twinValue(s, i)
		if !ok {
			return fault(end)
		}
		var key string
		_ = json.Unmarshal([]byte(s[i:end]), &key)
		if i = skipBlank(s, end); i == len(s) || s[i] != ':' {
			return fault(i)
		}
		if i = skipBlank(s, i+1); i == len(s) {
			return fault(i)
		}
		quoted := s[i] == '"'
		switch {
		case key == "name" && (named >= 0 || !quoted):
			return fault(i)
		case (key == "arguments" || key == "parameters") && (argued >= 0 || !quoted && s[i] != '{' && s[i] != 'n'):
			return fault(i)
		case (key == "arguments" || key == "parameters") && s[i] == '{':
			argued = i
		}
		end, ok = twinValue(s, i)
		if !ok {
			return fault(end)
		}
		value := s[i:end]
		switch {
		case key == "name":
			if _ = json.Unmarshal([]byte(value), &name); name == "" {
				return fault(end - 1)
			}
			named = end - 1
		case argued == i:
			args = value
		case key == "arguments" || key == "parameters":
			args = "{}"
			if quoted {
				_ = json.Unmarshal([]byte(value), &args)
				if !json.Valid([]byte(args)) || !strings.HasPrefix(strings.TrimLeft(args, blank), "{") {
					return fault(end - 1)
				}
			}
			argued = end - 1
		}
		if i = skipBlank(s, end); i == len(s) {
			return fault(i)
		}
		if s[i] == '}' {
			break
		}
		if s[i] != ',' {
			return fault(i)
		}
	}
	if named < 0 {
		return fault(i)
	}
	if argued < 0 {
		args, argued = "{}", i
	}
	if known := max(named, argued); !anyName && !slices.Contains(names, name) {
		return nil, known, false
	}
	return &ToolCall{name, []byte(args)}, i + 1, true
}

// twinValue is the end of the JSON value at s[i:], or the byte at fault.
func twinValue(s string, i int) (int, bool) {
	if i = skipBlank(s, i); i == len(s) {
		return i, false
	}
	switch c := s[i]; {
	case c == '"':
		return twinString(s, i)
	case c == '{' || c == '[':
		return twinList(s, i)
	case c == '-' || c >= '0' && c <= '9':
		return twinNumber(s, i)
	}
	for _, word := range []string{"true", "false", "null"} {
		if s[i] == word[0] {
			for k := range len(word) {
				if i+k == len(s) || s[i+k] != word[k] {
					return i + k, false
				}
			}
			return i + len(word), true
		}
	}
	return i, false
}

func twinString(s string, i int) (int, bool) {
	for i++; i < len(s); i++ {
		switch c := s[i]; {
		case c == '"':
			return i + 1, true
		case c < ' ':
			return i, false
		case c == '\\':
			if i++; i == len(s) || !strings.ContainsRune(`"\/bfnrtu`, rune(s[i])) {
				return i, false
			}
			for n := 0; s[i] == 'u' && n < 4; n++ {
				if i+1+n == len(s) || !strings.ContainsRune("0123456789abcdefABCDEF", rune(s[i+1+n])) {
					return i + 1 + n, false
				}
			}
			if s[i] == 'u' {
				i += 4
			}
		}
	}
	return i, false
}

func twinList(s string, i int) (int, bool) {
	object, end := s[i] == '{', byte(']')
	if object {
		end = '}'
	}
	if k := skipBlank(s, i+1); k < len(s) && s[k] == end {
		return k + 1, true
	}
	for {
		var ok bool
		if i = skipBlank(s, i+1); object {
			if i == len(s) || s[i] != '"' {
				return i, false
			}
			if i, ok = twinString(s, i); !ok {
				return i, false
			}
			if i = skipBlank(s, i); i == len(s) || s[i] != ':' {
				return i, false
			}
			i++
		}
		if i, ok = twinValue(s, i); !ok {
			return i, false
		}
		if i = skipBlank(s, i); i == len(s) || s[i] != ',' && s[i] != end {
			return i, false
		}
		if s[i] == end {
			return i + 1, true
		}
	}
}

func twinNumber(s string, i int) (int, bool) {
	digits := func() bool {
		from := i
		for i < len(s) && s[i] >= '0' && s[i] <= '9' {
			i++
		}
		return i > from
	}
	if s[i] == '-' {
		i++
	}
	if i < len(s) && s[i] == '0' {
		i++
	} else if !digits() {
		return i, false
	}
	if i < len(s) && s[i] == '.' {
		if i++; !digits() {
			return i, false
		}
	}
	if i < len(s) && (s[i] == 'e' || s[i] == 'E') {
		if i++; i < len(s) && (s[i] == '+' || s[i] == '-') {
			i++
		}
		if !digits() {
			return i, false
		}
	}
	return i, true
}
