package front

import (
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/troupe-llm/troupe/tokenize/reply"
)

// cut is what a stopper must amount to, given the whole text at once.
func cut(text string, stops []string, include bool) (string, string) {
	at, which := len(text), ""
	for _, stop := range stops {
		if i := strings.Index(text, stop); i >= 0 && stop != "" && i < at {
			at, which = i, stop
		}
	}
	if include {
		at += len(which)
	}
	return text[:at], which
}

func runStopper(pieces []string, stops []string, include bool) (string, string) {
	s := newStopper(stops, include)
	var out strings.Builder
	for _, p := range pieces {
		text, found := s.add([]byte(p))
		out.Write(text)
		if found {
			return out.String(), s.found
		}
	}
	text, _ := s.flush(nil)
	out.Write(text)
	return out.String(), s.found
}

func TestStopper(t *testing.T) {
	for _, c := range []struct {
		name    string
		pieces  []string
		stops   []string
		include bool
		want    string
		found   string
	}{
		{"none", []string{"a", "b"}, nil, false, "ab", ""},
		{"whole piece", []string{"a", "END", "b"}, []string{"END"}, false, "a", "END"},
		{"across pieces", []string{"aE", "N", "Db"}, []string{"END"}, false, "a", "END"},
		{"included", []string{"aE", "N", "Db"}, []string{"END"}, true, "aEND", "END"},
		{"begins and does not end", []string{"aEN", "x"}, []string{"END"}, false, "aENx", ""},
		{"begins at the end of the text", []string{"aEN"}, []string{"END"}, false, "aEN", ""},
		{"overlapping beginnings", []string{"EE", "END"}, []string{"END"}, false, "EE", "END"},
		{"the earlier one counts", []string{"xyz"}, []string{"z", "y"}, false, "x", "y"},
		{"empty ones are nothing", []string{"ab"}, []string{""}, false, "ab", ""},
		{"in the middle of a character", []string{"h\xc3", "\xa9llo"}, []string{"él"}, false, "h", "él"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got, found := runStopper(c.pieces, c.stops, c.include); got != c.want || found != c.found {
				t.Errorf("got %q, stopped by %q; want %q, %q", got, found, c.want, c.found)
			}
		})
	}
}

// Any text, any stop strings, cut anywhere: the same as on the whole text.
// Only for stop strings none of which is a part of another can "earliest
// begun" differ from "first complete", so those are drawn without overlap.
func TestStopperCutAnywhere(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	word := func(n int) string {
		b := make([]byte, n)
		for i := range b {
			b[i] = "ab"[rnd.IntN(2)]
		}
		return string(b)
	}
	for range 20000 {
		n := 1 + rnd.IntN(5)
		stops := []string{word(n)}
		if rnd.IntN(2) == 0 {
			stops = append(stops, word(n)) // same length: the first complete is the earliest begun
		}
		text, include := word(rnd.IntN(20)), rnd.IntN(2) == 0
		var pieces []string
		for rest := text; rest != ""; {
			n := 1 + rnd.IntN(len(rest))
			pieces, rest = append(pieces, rest[:n]), rest[n:]
		}
		got, found := runStopper(pieces, stops, include)
		want, stop := cut(text, stops, include)
		if got != want || found != stop {
			t.Fatalf("%q stops %q include %v: got %q by %q, want %q by %q", pieces, stops, include, got, found, want, stop)
		}
	}
}

// Stop strings count in the answer alone.
func TestStopperInAnswers(t *testing.T) {
	options := reply.Options{
		Format: reply.FindFormat("hermes", ""), Tools: []reply.Tool{{Name: "f"}}, Reasoning: reply.FindReasoning("think"),
	}
	channels := reply.Options{Format: reply.FindFormat("openai", ""), Tools: []reply.Tool{{Name: "f"}}}
	tags := reply.Options{Format: reply.FindFormat("qwen3_coder", ""), Tools: []reply.Tool{{Name: "f"}}}
	for _, c := range []struct {
		name        string
		o           reply.Options
		text, stop  string
		include     bool
		want, found string
	}{
		{"not in reasoning", options, "<think>a\n\nb</think>c", "\n\n", false, "<think>a\n\nb</think>c", ""},
		{"not in the white space behind it", options, "<think>a</think>\n\nb\n\nc", "\n\n", false, "<think>a</think>\n\nb", "\n\n"},
		{"included", options, "<think>a</think>\n\nb\n\nc", "\n\n", true, "<think>a</think>\n\nb\n\n", "\n\n"},
		{"not in a call", options, "x<tool_call>{\"name\": \"f\", \"arguments\": {\"b\": 1}}</tool_call>", "\"b\"", false, "x<tool_call>{\"name\": \"f\", \"arguments\": {\"b\": 1}}</tool_call>", ""},
		{"not in its marks", options, "x<tool_call>{\"name\": \"f\"}</tool_call>", "<", false, "x<tool_call>{\"name\": \"f\"}</tool_call>", ""},
		{"behind a call", options, "<tool_call>{\"name\": \"f\"}</tool_call>xENDy", "END", false, "<tool_call>{\"name\": \"f\"}</tool_call>x", "END"},
		{"in what is no call after all", options, "a<tool_call>[1]", "[1", false, "a<tool_call>", "[1"},
		{"not across a call", options, "aE<tool_call>{\"name\": \"f\"}</tool_call>ND", "END", false, "aE<tool_call>{\"name\": \"f\"}</tool_call>ND", ""},
		{"not in a parameter", tags, "<tool_call><function=f><parameter=a>END</parameter></function></tool_call>bENDc", "END", false, "<tool_call><function=f><parameter=a>END</parameter></function></tool_call>b", "END"},
		{"in the final channel", channels, "<|channel|>analysis<|message|>END<|end|><|start|>assistant<|channel|>final<|message|>aENDb", "END", false, "<|channel|>analysis<|message|>END<|end|><|start|>assistant<|channel|>final<|message|>a", "END"},
	} {
		for size := 1; size <= len(c.text); size++ {
			s := newStopper([]string{c.stop}, c.include)
			s.answer = reply.NewParser(c.o)
			var out []byte
			for i := 0; i < len(c.text) && s.found == ""; i += size {
				text, _ := s.add([]byte(c.text[i:min(len(c.text), i+size)]))
				out = append(out, text...)
			}
			if s.found == "" {
				text, _ := s.flush(nil)
				out = append(out, text...)
			}
			if string(out) != c.want || s.found != c.found {
				t.Errorf("%s, by %d bytes: got %q, stopped by %q; want %q, %q", c.name, size, out, s.found, c.want, c.found)
				break
			}
		}
	}
}

// Any reply, cut anywhere: where a stop string ends it, the answer is up to the
// first, and all else is as it was.
func TestStopperInAnswersCutAnywhere(t *testing.T) {
	rnd := rand.New(rand.NewPCG(3, 4))
	words := []string{"<think>", "</think>", "<tool_call>", "</tool_call>", `{"name": "f", "arguments": {"a": "ab"}}`, "a", "b", "ab", "\n", " ", "<", "{"}
	options := reply.Options{Format: reply.FindFormat("hermes", ""), Tools: []reply.Tool{{Name: "f"}}, Reasoning: reply.FindReasoning("think")}
	for range 20000 {
		var b strings.Builder
		for range rnd.IntN(12) {
			b.WriteString(words[rnd.IntN(len(words))])
		}
		text, stop := b.String(), []string{"ab", "b", "\n", "a{", "<", " \n"}[rnd.IntN(6)]
		// The first place where stop is within one stretch of the answer.
		want, found := text, ""
		for _, part := range reply.NewParser(options).Finish([]byte(text)) {
			if i := strings.Index(string(part.Text), stop); part.Kind == reply.Text && i >= 0 {
				want, found = text[:part.At+i], stop
				break
			}
		}
		s := newStopper([]string{stop}, false)
		s.answer = reply.NewParser(options)
		var out []byte
		for rest := text; rest != "" && s.found == ""; {
			n := 1 + rnd.IntN(len(rest))
			shown, _ := s.add([]byte(rest[:n]))
			out, rest = append(out, shown...), rest[n:]
		}
		if s.found == "" {
			shown, _ := s.flush(nil)
			out = append(out, shown...)
		}
		if string(out) != want || s.found != found {
			t.Fatalf("%q stop %q: got %q by %q, want %q by %q", text, stop, out, s.found, want, found)
		}
	}
}

func newStopper(stops []string, include bool) (s stopper) {
	s.begin(stops, include)
	return s
}
