package reply

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
)

// parse gives a parser a reply in these pieces.
func parse(o Options, pieces ...string) (Message, *Parser) {
	var m Message
	p := NewParser(o)
	for _, piece := range pieces {
		m.Add(p.Add([]byte(piece)))
	}
	m.Add(p.Finish(nil))
	return m, p
}

func (m Message) String() string {
	s := fmt.Sprintf("think %q say %q", m.Reasoning, m.Text)
	for _, c := range m.Calls {
		s += fmt.Sprintf(" call %s(%s)", c.Name, c.Arguments)
	}
	return s
}

var everything = []Options{
	{},
	{Think: true},
	{Think: true, Opened: true, Format: Hermes},
	{Format: Hermes},
	{Format: Hermes, Think: true},
	{Format: Hermes, One: true},
	{Format: Llama3, Names: []string{"f", "get.time"}},
	{Format: Llama3, Names: []string{"f"}, Think: true},
	{Format: Mistral},
	{Format: Mistral, One: true, Think: true},
}

var hermes, llama, mistral, think = Options{Format: Hermes, Think: true}, Options{Format: Llama3, Names: []string{"f", "g"}}, Options{Format: Mistral}, Options{Think: true}

// cases say what a reply means.
var cases = []struct {
	about    string
	opts     Options
	in, want string
}{
	{"text is as it was written", hermes, "\n A <b> \n", `think "" say "\n A <b> \n"`},
	{"reasoning, then text, without the space between", hermes, "<think>\nHm. \n</think>\n\nYes.\n", `think "Hm." say "Yes.\n"`},
	{"reasoning that was switched off is none", think, "<think>\n\n</think>\n\nYes.", `think "" say "Yes."`},
	{"reasoning that the prompt began", Options{Think: true, Opened: true}, "Hm.\n</think>Yes.", `think "Hm." say "Yes."`},
	{"… and the reply begins again", Options{Think: true, Opened: true}, "\n<think>Hm.</think>Yes.", `think "Hm." say "Yes."`},
	{"reasoning that was cut short", think, "<think>Hm.\n</thi", `think "Hm.\n</thi" say ""`},
	{"a mark later on is text", think, "Yes. <think>Hm.</think>", `think "" say "Yes. <think>Hm.</think>"`},
	{"marks are not looked for when not asked for", Options{}, "<think>x</think><tool_call>{}", `think "" say "<think>x</think><tool_call>{}"`},

	{
		"calls, as Qwen and Hermes write them", hermes,
		"<think>Two.</think>\nLet me see.\n\n<tool_call>\n{\"name\": \"f\", \"arguments\": {\"x\": [1, {\"y\": \"}\\\"\"}]}}\n</tool_call>\n<tool_call>\n{\"name\": \"g\", \"arguments\": {}}\n</tool_call>\n",
		`think "Two." say "Let me see." call f({"x": [1, {"y": "}\""}]}) call g({})`,
	},
	{"arguments before the name; other members", hermes, `<tool_call>{"arguments":{"a":1},"id":-1.5e3,"name":"f"}</tool_call>Done.`, `think "" say "Done." call f({"a":1})`},
	{"arguments as a string of JSON, null, or left out", hermes, `<tool_call>{"name":"f","arguments":"{\"a\":1}"}</tool_call><tool_call>{"name":"f","arguments":null}</tool_call><tool_call>{"name":"f"}`, `think "" say "" call f({"a":1}) call f({}) call f({})`},
	{"the closing mark left out", hermes, `<tool_call>{"name":"f","arguments":{}} and <tool_call>{"name":"g"}</tool_call>`, `think "" say "and" call f({}) call g({})`},
	{"no JSON: all of it is text", hermes, "Well: <tool_call>\n{'name': 'f'}\n</tool_call> so", `think "" say "Well: <tool_call>\n{'name': 'f'}\n</tool_call> so"`},
	{"JSON, but no call", hermes, `<tool_call>{"a": {"name": "f", "arguments": {}}}</tool_call>`, `think "" say "<tool_call>{\"a\": {\"name\": \"f\", \"arguments\": {}}}</tool_call>"`},
	{"no JSON in the arguments, after the call was told", hermes, `A <tool_call>{"name":"f","arguments":{"x":1,}}</tool_call>`, `think "" say "A <tool_call>{\"name\":\"f\",\"arguments\":{\"x\":1,}}</tool_call>"`},
	{"a call cut short", hermes, `A <tool_call>{"name":"f","arguments":{"x":"12`, `think "" say "A <tool_call>{\"name\":\"f\",\"arguments\":{\"x\":\"12"`},
	{"text goes on at the byte at fault", hermes, `<tool_call>f<tool_call>{"name":"f"}</tool_call>`, `think "" say "<tool_call>f" call f({})`},
	{"a call inside the reasoning is reasoning", hermes, `<think><tool_call>{"name":"f"}</tool_call></think>No.`, `think "<tool_call>{\"name\":\"f\"}</tool_call>" say "No."`},
	{"nothing after the first call", Options{Format: Hermes, One: true}, `A <tool_call>{"name":"f"}</tool_call><tool_call>{"name":"g"}</tool_call> B`, `think "" say "A" call f({})`},

	{"a bare object, as Llama 3 writes it", llama, "\n{\"type\": \"function\", \"name\": \"f\", \"parameters\": {\"x\": \"1\"}}", `think "" say "" call f({"x": "1"})`},
	{"several", llama, `{"name": "f", "parameters": {}}; {"name": "g", "parameters": {"a": 1}}`, `think "" say "" call f({}) call g({"a": 1})`},
	{"after the tag", llama, `<|python_tag|>{"name": "h", "parameters": {}}`, `think "" say "" call h({})`},
	{"an object that is none of the tools is text", llama, `{"name": "Ann", "parameters": {}}`, `think "" say "{\"name\": \"Ann\", \"parameters\": {}}"`},
	{"an object later on is text", llama, `Use {"name": "f", "parameters": {}}`, `think "" say "Use {\"name\": \"f\", \"parameters\": {}}"`},
	{"the tag before code is text", llama, `<|python_tag|>print(1)`, `think "" say "<|python_tag|>print(1)"`},
	{"text after calls", llama, `{"name": "f", "parameters": {}}; and`, `think "" say "; and" call f({})`},

	{"a list, as Mistral writes it", mistral, `[TOOL_CALLS] [{"name": "f", "arguments": {"x": 1}}, {"name": "g", "arguments": {}, "id": "abcdefghi"}]`, `think "" say "" call f({"x": 1}) call g({})`},
	{"names before arguments", mistral, `Wait.[TOOL_CALLS]f[ARGS]{"x": 1}[TOOL_CALLS]a-b.c[CALL_ID]abcdefghi[ARGS] {}`, `think "" say "Wait." call f({"x": 1}) call a-b.c({})`},
	{"… with nothing between", mistral, `[TOOL_CALLS]f{"x": 1}`, `think "" say "" call f({"x": 1})`},
	{"neither", mistral, `[TOOL_CALLS]f[ARGX]{}`, `think "" say "[TOOL_CALLS]f[ARGX]{}"`},
	{"a list that breaks off keeps what was whole", mistral, `[TOOL_CALLS][{"name": "f", "arguments": {}}, {"name": "g", "argu`, `think "" say ", {\"name\": \"g\", \"argu" call f({})`},
	{"an empty list", mistral, `[TOOL_CALLS][]`, `think "" say "[TOOL_CALLS][]"`},
}

func TestParser(t *testing.T) {
	for _, tc := range cases {
		m, _ := parse(tc.opts, tc.in)
		if got := m.String(); got != tc.want {
			t.Errorf("%s: %q\ngot  %s\nwant %s", tc.about, tc.in, got, tc.want)
		}
	}
}

// agree holds the parser, given the reply in pieces of many sizes, against the
// twin, and the parts against each other.
func agree(t *testing.T, o Options, reply string, cut func(rest int) int) {
	t.Helper()
	want := twin(o, reply).String()
	var m Message
	var told strings.Builder // every byte that was told
	p := NewParser(o)
	calls, open := 0, false
	take := func(parts []Part) {
		m.Add(parts)
		for _, part := range parts {
			switch part.Kind {
			case Call:
				if open || part.Call != calls {
					t.Fatalf("%q: call %d begins after %d, open %v", reply, part.Call, calls, open)
				}
				calls, open = calls+1, true
			case Text, Reasoning:
				told.Write(part.Text)
			default:
				if !open || part.Call != calls-1 {
					t.Fatalf("%q: a part of call %d, of %d, open %v", reply, part.Call, calls, open)
				}
				open = part.Kind == Arguments
			}
		}
	}
	for rest := reply; ; {
		n := min(len(rest), max(0, cut(len(rest))))
		if n == len(rest) && n%2 == 0 {
			take(p.Finish([]byte(rest)))
			break
		}
		take(p.Add([]byte(rest[:n])))
		rest = rest[n:]
	}
	if got := m.String(); got != want {
		t.Fatalf("%+v %q:\ngot  %s\nwant %s", o, reply, got, want)
	}
	if len(m.Calls) != p.Calls() {
		t.Fatalf("%q: %d calls, %d counted", reply, len(m.Calls), p.Calls())
	}
	for _, c := range m.Calls {
		if !json.Valid(c.Arguments) {
			t.Fatalf("%q: arguments %q", reply, c.Arguments)
		}
	}
	if o.Format.mark() == "" && !o.Think && told.String() != reply {
		t.Fatalf("%q became %q", reply, told.String())
	}
	if end := p.ReasoningEnd(); len(m.Reasoning) > 0 && end < len(m.Reasoning) || end < 0 {
		t.Fatalf("%q: reasoning ends at %d", reply, end)
	}
}

// TestCuts gives every case byte by byte, and cut in two at every place.
func TestCuts(t *testing.T) {
	for _, tc := range cases {
		for i := 1; i < len(tc.in); i++ {
			agree(t, tc.opts, tc.in, func(rest int) int {
				if rest == len(tc.in) {
					return i
				}
				return rest
			})
		}
		agree(t, tc.opts, tc.in, func(int) int { return 1 })
	}
}

// pieces are what random replies are made of.
var pieces = strings.Split("<think>|</think>|<tool_call>|</tool_call>|<tool|[TOOL_CALLS]|[ARGS]|[CALL_ID]|<|python_tag|>|;|,|[|]|{|}|:|f|get.time|\n|  |"+
	`"name"|"arguments"|"parameters"|"f"|"g"|"x"|""|"\u00e9\n"|"\x"|1|-0.5e+7|01|null|true|nul|{"name": "f", "arguments": {"x": 1}}|{"name":"f","parameters":{}}|"{}"|é|Hello`, "|")

func TestRandomReplies(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for range 30_000 {
		var b strings.Builder
		for range rng.IntN(14) {
			switch rng.IntN(6) {
			case 0: // something that may well be a call, perhaps with a byte gone
				call := cases[rng.IntN(len(cases))].in
				i := rng.IntN(len(call))
				b.WriteString(call[:i] + call[min(len(call), i+rng.IntN(2)):])
			default:
				b.WriteString(pieces[rng.IntN(len(pieces))])
			}
		}
		most := 1 + rng.IntN(12)
		agree(t, everything[rng.IntN(len(everything))], b.String(), func(int) int { return rng.IntN(most + 1) })
	}
}

func FuzzParser(f *testing.F) {
	for _, tc := range cases {
		for i := range everything {
			f.Add([]byte(tc.in), uint8(i), uint8(3))
		}
	}
	f.Fuzz(func(t *testing.T, reply []byte, opts, size uint8) {
		agree(t, everything[int(opts)%len(everything)], string(reply), func(int) int { return 1 + int(size%16) })
	})
}

// FuzzScanner holds the scanner against encoding/json.
func FuzzScanner(f *testing.F) {
	for _, s := range []string{`{"a":[1,-0.5E+3,"\u00e9\"",true,null,{}]}`, `[]`, `"`, `-`, `01`, `1.`, `1e`, `{"a"}`, `{,}`, `[1,]`, `nulL`, "\"\n\"", ` 1 `} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		var s scanner
		v := more
		i := 0
		for ; i < len(b) && v == more; i++ {
			v = s.step(b[i])
		}
		ok := v == ends || v == past || v == more && i > 0 && s.step(' ') == past
		if v == past {
			i--
		}
		ok = ok && len(bytes.Trim(b[i:], blank)) == 0
		if ok != json.Valid(b) {
			t.Fatalf("%q: %v at %d", b, v, i)
		}
	})
}

// TestFragments shows that arguments are told as they come.
func TestFragments(t *testing.T) {
	p := NewParser(hermes)
	var got []string
	for _, piece := range []string{"<tool", "_call>\n{\"na", "me\": \"f\"", ", \"arguments\": {", "\"x\":", " 1}", "}\n</tool_call>"} {
		s := ""
		for _, part := range p.Add([]byte(piece)) {
			s += fmt.Sprintf("%d%s ", part.Kind, part.Text)
		}
		got = append(got, s)
	}
	if want := `["" "" "" "2f 3{ " "3\"x\": " "3 1} " "4 "]`; fmt.Sprintf("%q", got) != want {
		t.Errorf("got  %q\nwant %s", got, want)
	}
}

func BenchmarkText(b *testing.B) {
	p := NewParser(hermes)
	token := []byte(" token")
	b.ReportAllocs()
	for b.Loop() {
		p.Add(token)
	}
}

func BenchmarkArguments(b *testing.B) {
	p := NewParser(hermes)
	p.Add([]byte(`<tool_call>{"name":"f","arguments":{"x":"`))
	token := []byte(" token")
	b.ReportAllocs()
	for b.Loop() {
		p.Add(token)
	}
}
