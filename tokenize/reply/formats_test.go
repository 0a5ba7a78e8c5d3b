package reply

import (
	"slices"
	"testing"
)

// examples are what each family writes: two calls with text before them, where
// its models do that.
var examples = []example{
	{
		"hermes", hermes,
		"<think>Two.</think>\nLet me see.\n\n<tool_call>\n{\"name\": \"f\", \"arguments\": {\"x\": [1, {\"y\": \"}\\\"\"}]}}\n</tool_call>\n<tool_call>\n{\"name\": \"g\", \"arguments\": {}}\n</tool_call>\n",
		`think "Two." say "Let me see." call f({"x": [1, {"y": "}\""}]}) call g({})`,
	},
	{
		"qwen3_coder", with("qwen3_coder"),
		"So.\n<tool_call>\n<function=f>\n<parameter=s>\nA <b>\nc\n</parameter>\n<parameter=n>\n3\n</parameter>\n</function>\n</tool_call>\n<tool_call>\n<function=g>\n</function>\n</tool_call>",
		`think "" say "So." call f({"s": "A <b>\nc", "n": 3}) call g({})`,
	},
	{"qwen3_coder", with("qwen3_coder"), "<function=f>\n<parameter=n>\n3\n</parameter>\n</function>\n</tool_call>", `think "" say "" call f({"n": 3})`},
	{
		"seed_oss",
		Options{Format: FindFormat("seed_oss", ""), Tools: tools, Reasoning: FindReasoning("seed_oss")},
		"<seed:think>Hm.</seed:think>\nSo.\n<seed:tool_call>\n<function=f>\n<parameter=s>3</parameter>\n<parameter=l>[3]</parameter>\n</function>\n</seed:tool_call>\n<seed:tool_call>\n<function=g>\n</function>\n</seed:tool_call>",
		`think "Hm." say "So." call f({"s": "3", "l": [3]}) call g({})`,
	},
	{
		"glm45", with("glm45").thinking(),
		"\n<think>Hm.</think>\nSo.\n<tool_call>f\n<arg_key>s</arg_key>\n<arg_value>a < b</arg_value>\n<arg_key>m</arg_key>\n<arg_value>{\"a\": 1}</arg_value>\n</tool_call>\n<tool_call>g\n</tool_call>",
		`think "Hm." say "So." call f({"s": "a < b", "m": {"a": 1}}) call g({})`,
	},
	{"glm45", with("glm45"), "<tool_call>f<arg_key>n</arg_key><arg_value>1</arg_value></tool_call>", `think "" say "" call f({"n": 1})`},
	{
		"minimax_m2", with("minimax_m2").thinking(),
		"So.\n<minimax:tool_call>\n<invoke name=\"f\">\n<parameter name=\"s\">a\n\"b\"</parameter>\n<parameter name=\"n\">1</parameter>\n</invoke>\n<invoke name=\"g\">\n</invoke>\n</minimax:tool_call>",
		`think "" say "So." call f({"s": "a\n\"b\"", "n": 1}) call g({})`,
	},
	{
		"deepseek_v32", with("deepseek_v32").thinking(),
		"So.\n\n<｜DSML｜function_calls>\n<｜DSML｜invoke name=\"f\">\n<｜DSML｜parameter name=\"x\" string=\"true\">1</｜DSML｜parameter>\n<｜DSML｜parameter name=\"n\" string=\"false\">1</｜DSML｜parameter>\n</｜DSML｜invoke>\n<｜DSML｜invoke name=\"g\">\n</｜DSML｜invoke>\n</｜DSML｜function_calls>",
		`think "" say "So." call f({"x": "1", "n": 1}) call g({})`,
	},
	{
		"deepseek_v3", with("deepseek_v3").thinking(),
		"So.<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>function<｜tool▁sep｜>f\n```json\n{\"s\": \"a\"}\n```<｜tool▁call▁end｜>\n<｜tool▁call▁begin｜>function<｜tool▁sep｜>g\n```json\n{}\n```<｜tool▁call▁end｜><｜tool▁calls▁end｜>",
		`think "" say "So." call f({"s": "a"}) call g({})`,
	},
	{
		"deepseek_v31", with("deepseek_v31").thinking(),
		"So.<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>f<｜tool▁sep｜>{\"s\": \"a\"}<｜tool▁call▁end｜><｜tool▁call▁begin｜>g<｜tool▁sep｜>{}<｜tool▁call▁end｜><｜tool▁calls▁end｜>",
		`think "" say "So." call f({"s": "a"}) call g({})`,
	},
	{
		"kimi_k2", with("kimi_k2").thinking(),
		"So.<|tool_calls_section_begin|><|tool_call_begin|>functions.f:0<|tool_call_argument_begin|>{\"s\": \"a\"}<|tool_call_end|><|tool_call_begin|>functions.g:1<|tool_call_argument_begin|>{}<|tool_call_end|><|tool_calls_section_end|>",
		`think "" say "So." call f({"s": "a"}) call g({})`,
	},
	{"kimi_k2", with("kimi_k2"), "<|tool_calls_section_begin|><|tool_call_begin|>get.time<|tool_call_argument_begin|>{}", `think "" say "" call get.time({})`},
	{
		"openai", with("openai"),
		"<|channel|>analysis<|message|>Hm.<|end|><|start|>assistant<|channel|>commentary to=functions.f <|constrain|>json<|message|>{\"s\": \"a\"}<|call|>",
		`think "Hm." say "" call f({"s": "a"})`,
	},
	{"openai", with("openai"), " to=functions.g<|channel|>commentary json<|message|>{}", `think "" say "" call g({})`},
	{"openai", with("openai"), "<|channel|>analysis<|message|>Hm.<|end|><|start|>assistant<|channel|>final<|message|>Yes.\n", `think "Hm." say "Yes.\n"`},
	{
		"gemma4",
		Options{Format: FindFormat("gemma4", ""), Tools: tools, Reasoning: FindReasoning("gemma4")},
		"<|channel>thought\nHm.\n<channel|>So.<|tool_call>call:f{s:<|\"|>a \"b\" <<|\"|>,n:1,l:[<|\"|>c<|\"|>,true],m:{k:None}}<tool_call|><|tool_call>call:g{}<tool_call|>",
		`think "Hm." say "So." call f({"s": "a \"b\" <", "n": 1, "l": ["c", true], "m": {"k": null}}) call g({})`,
	},
	{
		"functiongemma", with("functiongemma"),
		"So.<start_function_call>call:f{s:<escape>a<escape>}<end_function_call><start_function_call>call:g{}<end_function_call>",
		`think "" say "So." call f({"s": "a"}) call g({})`,
	},
	{
		"gemma3", with("gemma3"), "So.\n```tool_code\nf(s=\"a\", n=1)\ng()\n```", `think "" say "So." call f({"s": "a", "n": 1}) call g({})`,
	},
	{"gemma3", with("gemma3"), "```tool_code\n[f(s=\"a\"), g()]\n```", `think "" say "" call f({"s": "a"}) call g({})`},
	{"phi4_mini_json", with("phi4_mini_json"), `So. functools[{"name": "f", "arguments": {"s": "a"}}, {"name": "g", "arguments": {}}]`, `think "" say "So." call f({"s": "a"}) call g({})`},
	{"phi4_mini", with("phi4_mini"), `So.<|tool_call|>{"name": "f", "arguments": {"s": "a"}}<|/tool_call|><|tool_call|>[{"name": "g", "arguments": {}}]<|/tool_call|>`, `think "" say "So." call f({"s": "a"}) call g({})`},
	{"granite", with("granite"), `So.<|tool_call|>[{"name": "f", "arguments": {"s": "a"}}, {"name": "g", "arguments": {}}]`, `think "" say "So." call f({"s": "a"}) call g({})`},
	{"granite-20b-fc", with("granite-20b-fc"), `So.<function_call> {"name": "f", "arguments": {"s": "a"}}<function_call> {"name": "g", "arguments": {}}`, `think "" say "So." call f({"s": "a"}) call g({})`},
	{"nemotron_json", with("nemotron_json").thinking(), `So.<TOOLCALL>[{"name": "f", "arguments": {"s": "a"}}, {"name": "g", "arguments": {}}]</TOOLCALL>`, `think "" say "So." call f({"s": "a"}) call g({})`},
	{"jamba", with("jamba"), "So.<tool_calls>[\n{\"name\": \"f\", \"arguments\": {\"s\": \"a\"}},\n{\"name\": \"g\", \"arguments\": {}}\n]</tool_calls>", `think "" say "So." call f({"s": "a"}) call g({})`},
	{
		"command_r",
		Options{Format: FindFormat("command_r", ""), Tools: tools, Reasoning: FindReasoning("cohere_command3")},
		"<|START_THINKING|>Hm.<|END_THINKING|><|START_ACTION|>[\n{\"tool_call_id\": \"0\", \"tool_name\": \"f\", \"parameters\": {\"s\": \"a\"}},\n{\"tool_call_id\": \"1\", \"tool_name\": \"g\", \"parameters\": {}}\n]<|END_ACTION|>",
		`think "Hm." say "" call f({"s": "a"}) call g({})`,
	},
	{"functionary", with("functionary"), `So.<function=f>{"s": "a"}</function><function=g>{}</function>`, `think "" say "So." call f({"s": "a"}) call g({})`},
	{"mistral", mistral, `[TOOL_CALLS] [{"name": "f", "arguments": {"x": 1}}, {"name": "g", "arguments": {}, "id": "abcdefghi"}]`, `think "" say "" call f({"x": 1}) call g({})`},
	{"mistral", mistral, `Wait.[TOOL_CALLS]f[ARGS]{"x": 1}[TOOL_CALLS]a-b.c[CALL_ID]abcdefghi[ARGS] {}`, `think "" say "Wait." call f({"x": 1}) call a-b.c({})`},
	{"mistral", mistral, `[TOOL_CALLS]f{"x": 1}`, `think "" say "" call f({"x": 1})`},
	{"llama3", llama, "\n{\"type\": \"function\", \"name\": \"f\", \"parameters\": {\"x\": \"1\"}}", `think "" say "" call f({"x": "1"})`},
	{"llama3", llama, `{"name": "f", "parameters": {}}; {"name": "g", "parameters": {"a": 1}}`, `think "" say "" call f({}) call g({"a": 1})`},
	{"pythonic", with("pythonic"), `[f(s="a", n=1), g()]`, `think "" say "" call f({"s": "a", "n": 1}) call g({})`},
	{"pythonic", with("pythonic"), `<|python_start|>[f(s="a"), g()]<|python_end|>`, `think "" say "" call f({"s": "a"}) call g({})`},
	{"olmo3", with("olmo3"), "So.\n<function_calls>f(s=\"a\")\ng()</function_calls>", `think "" say "So." call f({"s": "a"}) call g({})`},
}

// TestExamples has an example of each format with a call, and of each way to
// set reasoning apart.
func TestExamples(t *testing.T) {
	for i := range formats {
		if name := formats[i].Names[0]; !slices.ContainsFunc(examples, func(e example) bool { return e.about == name && len(twin(e.opts, e.in).Calls) > 0 }) {
			t.Errorf("no example of %s", name)
		}
	}
}

// TestNames finds all that have a name, and nothing else.
func TestNames(t *testing.T) {
	for _, name := range FormatNames() {
		if f := FindFormat(name, ""); f == nil || !slices.Contains(f.Names, name) {
			t.Errorf("%s is %+v", name, f)
		}
	}
	for _, name := range ReasoningNames() {
		if r := FindReasoning(name); r == nil || !slices.Contains(r.Names, name) {
			t.Errorf("%s is %+v", name, r)
		}
	}
	if FindFormat("x", "") != nil || FindReasoning("x") != nil || DetectFormat("{{ messages }}") != nil || DetectReasoning("") != nil {
		t.Error("something is known by names that nothing has")
	}
	old := FindFormat("mistral", "[TOOL_CALLS]")
	if !old.Forms[0].List || FindFormat("mistral", "[TOOL_CALLS][ARGS]").Forms[0].List {
		t.Error("of two formats of a name it is not the one that the template shows")
	}
}
