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

// The tools of all tests.
var tools = []Tool{
	{Name: "f", Types: map[string]Types{"s": String, "n": Number, "b": Boolean, "l": List, "m": Mapping, "sn": String | Null}},
	{Name: "g"},
	{Name: "get.time"},
}

// with is options for a format of this name.
func with(format string) Options { return Options{Format: FindFormat(format, ""), Tools: tools} }

// thinking is options with reasoning.
func (o Options) thinking() Options {
	o.Reasoning = FindReasoning("think")
	return o
}

var (
	hermes, llama, mistral = with("hermes").thinking(), with("llama3"), with("mistral")
	think                  = Options{}.thinking()
	opened                 = think.After("<|assistant|>\n<think>\n")
	one                    = func(o Options) Options { o.One = true; return o }
	required               = func(o Options) Options { o.Required = true; return o }
)

// everything are options of all kinds.
func everything() (all []Options) {
	all = append(all, Options{}, think, opened, one(hermes), one(mistral))
	for i := range formats {
		o := Options{Format: &formats[i], Tools: tools}
		all = append(all, o, one(o), required(o.thinking()), one(required(o)))
	}
	for i := range reasonings {
		all = append(all, Options{Reasoning: &reasonings[i], Format: &formats[i], Tools: tools})
	}
	joined := with("openai")
	joined.Joined = true
	thinks := with("openai")
	thinks.Opened = true
	continued := with("openai")
	continued.Continued = true
	return append(all, joined, thinks, continued)
}

// cases say what a reply means.
var cases = []example{
	{"text is as it was written", hermes, "\n A <b> \n", `think "" say "\n A <b> \n"`},
	{"reasoning, then text, without the space between", hermes, "<think>\nHm. \n</think>\n\nYes.\n", `think "Hm." say "Yes.\n"`},
	{"reasoning that was switched off is none", think, "<think>\n\n</think>\n\nYes.", `think "" say "Yes."`},
	{"reasoning that the prompt began", opened, "Hm.\n</think>Yes.", `think "Hm." say "Yes."`},
	{"… and the reply begins again", opened, "\n<think>Hm.</think>Yes.", `think "Hm." say "Yes."`},
	{"reasoning that was cut short", think, "<think>Hm.\n</thi", `think "Hm.\n</thi" say ""`},
	{"a mark later on is text", think, "Yes. <think>Hm.</think>", `think "" say "Yes. <think>Hm.</think>"`},
	{"marks are not looked for when not asked for", Options{}, "<think>x</think><tool_call>{}", `think "" say "<think>x</think><tool_call>{}"`},

	{"arguments before the name; other members", hermes, `<tool_call>{"arguments":{"a":1},"id":-1.5e3,"name":"f"}</tool_call>Done.`, `think "" say "Done." call f({"a":1})`},
	{"arguments as a string of JSON, null, or left out", hermes, `<tool_call>{"name":"f","arguments":"{\"a\":1}"}</tool_call><tool_call>{"name":"f","arguments":null}</tool_call><tool_call>{"name":"f"}`, `think "" say "" call f({"a":1}) call f({}) call f({})`},
	{"the closing mark left out", hermes, `<tool_call>{"name":"f","arguments":{}} and <tool_call>{"name":"g"}</tool_call>`, `think "" say "and" call f({}) call g({})`},
	{"no JSON: all of it is text", hermes, "Well: <tool_call>\n{'name': 'f'}\n</tool_call> so", `think "" say "Well: <tool_call>\n{'name': 'f'}\n</tool_call> so"`},
	{"JSON, but no call", hermes, `<tool_call>{"a": {"name": "f", "arguments": {}}}</tool_call>`, `think "" say "<tool_call>{\"a\": {\"name\": \"f\", \"arguments\": {}}}</tool_call>"`},
	{"no JSON in the arguments, after the call was told", hermes, `A <tool_call>{"name":"f","arguments":{"x":1,}}</tool_call> B`, `think "" say "AB" call f({"x":1,}})`},
	{"a call cut short keeps what was there", hermes, `A <tool_call>{"name":"f","arguments":{"x":"12`, `think "" say "A" call f({"x":"12)`},
	{"a call that was cut before it could be told", hermes, "A\n<tool_call>\n{\"name\":\"f\"", `think "" say "A"`},
	{"a mark cut short may be text", hermes, `A <tool_ca`, `think "" say "A <tool_ca"`},
	{"… and is none where calls are all there may be", required(hermes), "\n<tool_ca", `think "" say ""`},
	{"a bare call cut short may be text, too", llama, `{"name": "f", "par`, `think "" say "{\"name\": \"f\", \"par"`},
	{"… and is none there", required(llama), ` {"name": "f", "par`, `think "" say ""`},
	{"text goes on at the byte at fault", hermes, `<tool_call>f<tool_call>{"name":"f"}</tool_call>`, `think "" say "<tool_call>f" call f({})`},
	{"a call inside the reasoning is reasoning", hermes, `<think><tool_call>{"name":"f"}</tool_call></think>No.`, `think "<tool_call>{\"name\":\"f\"}</tool_call>" say "No."`},
	{"nothing after the first call", one(hermes), `A <tool_call>{"name":"f"}</tool_call><tool_call>{"name":"g"}</tool_call> B`, `think "" say "A" call f({})`},

	{"after the tag", llama, `<|python_tag|>{"name": "h", "parameters": {}}`, `think "" say "" call h({})`},
	{"an object that is none of the tools is text", llama, `{"name": "Ann", "parameters": {}}`, `think "" say "{\"name\": \"Ann\", \"parameters\": {}}"`},
	{"an object later on is text", llama, `Use {"name": "f", "parameters": {}}`, `think "" say "Use {\"name\": \"f\", \"parameters\": {}}"`},
	{"the tag before code is text", llama, `<|python_tag|>print(1)`, `think "" say "<|python_tag|>print(1)"`},
	{"text after calls", llama, `{"name": "f", "parameters": {}}; and`, `think "" say "; and" call f({})`},
	{"a list that is no calls is text", with("pythonic"), `[1, 2]`, `think "" say "[1, 2]"`},
	{"… and one of what is no tool", with("pythonic"), `[print(x=1)]`, `think "" say "[print(x=1)]"`},

	{"neither", mistral, `[TOOL_CALLS]f[ARGX]{}`, `think "" say "[TOOL_CALLS]f[ARGX]{}"`},
	{"a list that breaks off keeps what was whole", mistral, `[TOOL_CALLS][{"name": "f", "arguments": {}}, {"name": "g", "argu`, `think "" say "" call f({})`},
	{"an empty list", mistral, `[TOOL_CALLS][]`, `think "" say "[TOOL_CALLS][]"`},

	{"types tell numbers from strings", with("qwen3_coder"), "<tool_call>\n<function=f>\n<parameter=s>\n1\n</parameter>\n<parameter=n>\n1\n</parameter>\n<parameter=b>\nTrue\n</parameter>\n<parameter=l>\n['a', None]\n</parameter>\n<parameter=m>\n{\"a\": 1}\n</parameter>\n<parameter=sn>\nnull\n</parameter>\n<parameter=x>\na\n\n\n\"b\"\n</parameter>\n</function>\n</tool_call>", `think "" say "" call f({"s": "1", "n": 1, "b": true, "l": ["a", null], "m": {"a": 1}, "sn": null, "x": "a\n\n\n\"b\""})`},
	{"a value keeps its white space but for one line break", with("qwen3_coder"), "<tool_call><function=f><parameter=s>\n\n  x \n\n</parameter></function></tool_call>", `think "" say "" call f({"s": "\n  x \n"})`},
	{"the mark that closes a call left out", with("qwen3_coder"), "<tool_call><function=f><parameter=n>2</parameter></tool_call> B", `think "" say "B" call f({"n": 2})`},
	{"a value cut short", with("qwen3_coder"), "<tool_call><function=f><parameter=s>\nab\n</para", `think "" say "" call f({"s": "ab)`},
	{"a function that is not called", with("qwen3_coder"), "Write <tool_call><function=f> and so on", `think "" say "Write <tool_call><function=f> and so on"`},

	{"Python's values", with("pythonic"), `[f(s='a"\'b\n', n=-1.5, b=True, l=[1, (2, None), ], m={'k': "v", "w": [], },)]`, `think "" say "" call f({"s": "a\"'b\n", "n": -1.5, "b": true, "l": [1, [2, null]], "m": {"k": "v", "w": []}})`},
	{"… and its escapes", with("pythonic"), `[f(s="\d\x41\u00e9\U0001F600\0\/")]`, `think "" say "" call f({"s": "\\dA\u00e9😀\u0000\/"})`},

	{"a message to nobody we know is reasoning", with("openai"), "<|channel|>analysis to=python code<|message|>1+1<|call|>", `think "1+1" say ""`},
	{"what is said before a call is text", with("openai"), "<|channel|>commentary<|message|>Let me see.<|end|><|start|>assistant<|channel|>commentary to=functions.f <|constrain|>json<|message|>{}", `think "" say "Let me see." call f({})`},
	{"a header cut short", with("openai"), "<|channel|>analysis<|message|>Hm.<|end|><|start|>assistant<|channel|>fin", `think "Hm." say ""`},
	{"text without channels", with("openai"), "Yes.\n", `think "" say "Yes.\n"`},
}

func TestParser(t *testing.T) {
	for _, tc := range append(cases, examples...) {
		m, _ := parse(tc.opts, tc.in)
		if got := m.String(); got != tc.want {
			t.Errorf("%s: %q\ngot  %s\nwant %s", tc.about, tc.in, got, tc.want)
		}
	}
}

// example is a reply and what it means.
type example struct {
	about    string
	opts     Options
	in, want string
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
				if part.Call != calls {
					t.Fatalf("%q: call %d begins after %d, open %v", reply, part.Call, calls, open)
				}
				calls, open = calls+1, true
			case Text, Reasoning:
				told.Write(part.Text)
				if synthetic := o.Format != nil && o.Format.Channels != nil; part.Kind == Text && !synthetic && reply[part.At:part.At+len(part.Text)] != string(part.Text) {
					t.Fatalf("%q: %q is not at %d", reply, part.Text, part.At)
				}
				open = false // it broke off
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
	if !o.Parsed() && told.String() != reply {
		t.Fatalf("%q became %q", reply, told.String())
	}
	if n := p.Settled(); p.state == inText && n != len(reply) {
		t.Fatalf("%q: %d of %d bytes are settled in the end", reply, n, len(reply))
	}
	if end := p.ReasoningEnd(); len(m.Reasoning) > 0 && end < len(m.Reasoning) || end < 0 {
		t.Fatalf("%q: reasoning ends at %d", reply, end)
	}
}

// TestCuts gives every case byte by byte, and cut in two at every place.
func TestCuts(t *testing.T) {
	for _, tc := range append(cases, examples...) {
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
var pieces = func() []string {
	all := strings.Split(";|,|[|]|{|}|(|)|=|:|f|g|get.time|s|n|x|\n|  |'|'a'|\\x4|True|Nul|"+
		`"name"|"arguments"|"parameters"|"f"|"g"|"x"|""|"\u00e9\n"|"\x"|1|-0.5e+7|01|null|true|nul|{"name": "f", "arguments": {"x": 1}}|{"name":"f","parameters":{}}|"{}"|é|Hello`, "|")
	for i := range formats {
		all = append(all, formats[i].marks.all...)
	}
	return append(all, AllTokens()...)
}()

func TestRandomReplies(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	all, everything := append(cases, examples...), everything()
	for range 60_000 {
		tc := all[rng.IntN(len(all))]
		var b strings.Builder
		for range rng.IntN(10) {
			switch rng.IntN(5) {
			case 0: // something that may well be a call, perhaps with a byte gone
				call := tc.in
				i := rng.IntN(len(call))
				b.WriteString(call[:i] + call[min(len(call), i+rng.IntN(2)):])
			case 1: // or a bit of one
				call := tc.in
				i := rng.IntN(len(call))
				b.WriteString(call[i : i+rng.IntN(len(call)-i)])
			default:
				b.WriteString(pieces[rng.IntN(len(pieces))])
			}
		}
		most := 1 + rng.IntN(12)
		o := everything[rng.IntN(len(everything))]
		if rng.IntN(4) > 0 {
			o.Format, o.Reasoning = tc.opts.Format, tc.opts.Reasoning
			o.Required = o.Required && o.Format != nil
		}
		agree(t, o, b.String(), func(int) int { return rng.IntN(most + 1) })
	}
}

func FuzzParser(f *testing.F) {
	everything := everything()
	for i, o := range everything {
		for _, tc := range append(cases, examples...) {
			if tc.opts.Format == o.Format {
				f.Add([]byte(tc.in), uint8(i), uint8(3))
			}
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
		ok = ok && len(bytes.Trim(b[i:], blanks)) == 0
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

func BenchmarkParameter(b *testing.B) {
	p := NewParser(with("qwen3_coder"))
	p.Add([]byte("<tool_call><function=f><parameter=s>\n"))
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
