package reply

import (
	"slices"
	"strings"
)

// The descriptions. Which comes first matters where one template shows several.

var reasonings = prepared([]Marks{
	{Names: []string{"seed_oss"}, Begin: "<seed:think>", End: "</seed:think>"},
	{Names: []string{"gemma4"}, Begin: "<|channel>thought\n", End: "<channel|>"},
	{Names: []string{"cohere_command3"}, Begin: "<|START_THINKING|>", End: "<|END_THINKING|>"},
	{Names: []string{"mistral"}, Begin: "[THINK]", End: "[/THINK]"},
	{Names: []string{"granite"}, Begin: "Here is my thought process:", End: "Here is my response:"},
	{
		Names: []string{
			"think", "qwen3", "deepseek_r1", "deepseek_v3", "deepseek_v31", "glm45", "kimi_k2", "minimax_m2", "hunyuan_a13b",
			"holo2", "mimo", "ernie45", "olmo3", "step3", "nemotron_v3",
		},
		Begin: "<think>", End: "</think>",
	},
})

var (
	nameArguments  = Members{"name", "arguments"}
	nameParameters = Members{"name", "parameters"}
)

var formats = compiled([]Format{
	{
		Names: []string{"openai", "gpt_oss", "harmony"},
		Shown: []string{"<|channel|>", "<|message|>", "functions"},
		Channels: &Channels{
			Start: "<|start|>", Channel: "<|channel|>", Message: "<|message|>", Ends: []string{"<|end|>", "<|call|>", "<|return|>"}, Role: "assistant",
			Reasoning: "analysis", Text: "final", Calls: "commentary", To: " to=", Tools: "functions.", Encoded: " <|constrain|>json",
		},
	},
	{
		Names: []string{"seed_oss"},
		Shown: []string{"<seed:tool_call>", "<function="},
		Forms: []Form{{
			Begin: "<seed:tool_call>\n", Single: true, Open: "<function=", Then: ">\n", Arguments: Tagged,
			Params: Params{Open: "<parameter=", KeyEnd: ">", Close: "</parameter>\n"},
			Close:  "</function>", Between: "\n", End: "\n</seed:tool_call>",
		}},
	},
	{
		Names: []string{"qwen3_coder", "qwen3_xml"},
		Shown: []string{"<tool_call>", "<function=", "<parameter="},
		Forms: []Form{
			{
				Begin: "<tool_call>\n", Single: true, Open: "<function=", Then: ">\n", Arguments: Tagged,
				Params: Params{Open: "<parameter=", KeyEnd: ">\n", Close: "\n</parameter>\n"},
				Close:  "</function>", Between: "\n", End: "\n</tool_call>",
			},
			{ // the outer mark is left out at times
				Begin: "<function=", Single: true, Then: ">\n", Arguments: Tagged,
				Params: Params{Open: "<parameter=", KeyEnd: ">\n", Close: "\n</parameter>\n"},
				Close:  "</function>", Between: "\n", End: "\n</tool_call>",
			},
		},
	},
	{
		Names: []string{"glm45", "glm47"},
		Shown: []string{"<tool_call>", "<arg_key>"},
		Forms: []Form{{
			Begin: "<tool_call>", Single: true, Then: "\n", Arguments: Tagged,
			Params: Params{Open: "<arg_key>", KeyEnd: "</arg_key>", ValueOpen: []string{"\n<arg_value>"}, Close: "</arg_value>\n"},
			Close:  "</tool_call>", Between: "\n",
		}},
	},
	{
		Names: []string{"minimax_m2"},
		Shown: []string{"<minimax:tool_call>"},
		Forms: []Form{{
			Begin: "<minimax:tool_call>\n", Open: `<invoke name="`, Then: "\">\n", Arguments: Tagged,
			Params: Params{Open: `<parameter name="`, KeyEnd: `">`, Close: "</parameter>\n"},
			Close:  "</invoke>\n", End: "</minimax:tool_call>",
		}},
	},
	{
		Names: []string{"deepseek_v32"},
		Shown: []string{"｜DSML｜"},
		Forms: []Form{{
			Begin: "<｜DSML｜function_calls>\n", Open: `<｜DSML｜invoke name="`, Then: "\">\n", Arguments: Tagged,
			Params: Params{
				Open: `<｜DSML｜parameter name="`, KeyEnd: `"`, ValueOpen: []string{` string="true">`, ` string="false">`}, Close: "</｜DSML｜parameter>\n",
			},
			Close: "</｜DSML｜invoke>\n", End: "</｜DSML｜function_calls>",
		}},
		Tokens: []string{"｜DSML｜"},
	},
	{
		Names: []string{"deepseek_v3"},
		Shown: []string{"<｜tool▁sep｜>", "```json"},
		Forms: []Form{{
			Begin: "<｜tool▁calls▁begin｜>", Open: "<｜tool▁call▁begin｜>function<｜tool▁sep｜>", Then: "\n```json\n", Arguments: JSON,
			Close: "\n```<｜tool▁call▁end｜>", Between: "\n", End: "<｜tool▁calls▁end｜>",
		}},
	},
	{
		Names: []string{"deepseek_v31"},
		Shown: []string{"<｜tool▁sep｜>"},
		Forms: []Form{{
			Begin: "<｜tool▁calls▁begin｜>", Open: "<｜tool▁call▁begin｜>", Then: "<｜tool▁sep｜>", Arguments: JSON,
			Close: "<｜tool▁call▁end｜>", End: "<｜tool▁calls▁end｜>",
		}},
	},
	{
		Names: []string{"kimi_k2"},
		Shown: []string{"<|tool_calls_section_begin|>"},
		Forms: []Form{{
			Begin: "<|tool_calls_section_begin|>", Open: "<|tool_call_begin|>", Prefix: "functions.", ID: ":", Then: "<|tool_call_argument_begin|>",
			Numbered: true, Arguments: JSON, Close: "<|tool_call_end|>", End: "<|tool_calls_section_end|>",
		}},
		IDs: NamedIDs,
	},
	{
		Names: []string{"gemma4"},
		Shown: []string{"<|tool_call>call:"},
		Forms: []Form{{Begin: "<|tool_call>", Single: true, Open: "call:", Then: "{", Arguments: Unquoted, End: "<tool_call|>"}},
		Tokens: []string{
			`<|"|>`,
		},
	},
	{
		Names:  []string{"functiongemma"},
		Shown:  []string{"<start_function_call>"},
		Forms:  []Form{{Begin: "<start_function_call>", Single: true, Open: "call:", Then: "{", Arguments: Unquoted, End: "<end_function_call>"}},
		Tokens: []string{"<escape>"},
	},
	{
		Names: []string{"phi4_mini_json", "functools"},
		Shown: []string{"functools["},
		Forms: []Form{{Begin: "functools", List: true, Object: nameArguments}},
	},
	{
		Names: []string{"phi4_mini"},
		Shown: []string{"<|/tool_call|>"},
		Forms: []Form{
			{Begin: "<|tool_call|>", Single: true, Object: nameArguments, End: "<|/tool_call|>"},
			{Begin: "<|tool_call|>", List: true, Object: nameArguments, End: "<|/tool_call|>"},
		},
	},
	{
		Names: []string{"granite"},
		Shown: []string{"<|tool_call|>"},
		Forms: []Form{
			{Begin: "<|tool_call|>", List: true, Object: nameArguments},
			{Begin: "<tool_call>", List: true, Object: nameArguments},
		},
	},
	{
		Names: []string{"granite-20b-fc"},
		Shown: []string{"<function_call>"},
		Forms: []Form{{Begin: "<function_call> ", Single: true, Object: nameArguments}},
	},
	{
		Names: []string{"nemotron_json"},
		Shown: []string{"<TOOLCALL>"},
		Forms: []Form{{Begin: "<TOOLCALL>", List: true, Object: nameArguments, End: "</TOOLCALL>"}},
	},
	{
		Names: []string{"jamba"},
		Shown: []string{"<tool_calls>"},
		Forms: []Form{{Begin: "<tool_calls>", List: true, Object: nameArguments, End: "</tool_calls>"}},
	},
	{
		Names: []string{"command_r"},
		Shown: []string{"<|START_ACTION|>"},
		Forms: []Form{{Begin: "<|START_ACTION|>", List: true, Object: Members{"tool_name", "parameters"}, End: "<|END_ACTION|>"}},
	},
	{
		Names: []string{"functionary"},
		Shown: []string{"<function=", "</function>"},
		Forms: []Form{{Begin: "<function=", Single: true, Then: ">", Arguments: JSON, Close: "</function>"}},
	},
	{
		Names: []string{"hermes", "qwen", "qwen25"},
		Shown: []string{"<tool_call>"},
		Forms: []Form{{Begin: "<tool_call>\n", Single: true, Object: nameArguments, Between: "\n", End: "\n</tool_call>"}},
	},
	{ // as tokenizers with tags for arguments write it
		Names: []string{"mistral"},
		Shown: []string{"[TOOL_CALLS]", "[ARGS]"},
		Forms: []Form{
			{Begin: "[TOOL_CALLS]", Single: true, ID: "[CALL_ID]", Then: "[ARGS]", Arguments: JSON},
			{Begin: "[TOOL_CALLS]", List: true, Object: nameArguments},
		},
		IDs: ShortIDs,
	},
	{ // as those before them do; both are read
		Names: []string{"mistral"},
		Shown: []string{"[TOOL_CALLS]"},
		Forms: []Form{
			{Begin: "[TOOL_CALLS]", List: true, Object: nameArguments},
			{Begin: "[TOOL_CALLS]", Single: true, ID: "[CALL_ID]", Then: "[ARGS]", Arguments: JSON},
		},
		IDs: ShortIDs,
	},
	{
		Names: []string{"llama3", "llama3_json", "llama4_json"},
		Shown: []string{"ipython", `"parameters"`},
		Forms: []Form{
			{Bare: true, Object: nameParameters, Between: "; "},
			{Begin: "<|python_tag|>", Object: nameParameters, Between: "; "},
		},
	},
	{
		Names: []string{"olmo3"},
		Shown: []string{"<function_calls>"},
		Forms: []Form{{Begin: "<function_calls>", Then: "(", Arguments: Pythonic, Between: "\n", End: "</function_calls>"}},
	},
	{
		Names: []string{"pythonic", "llama4_pythonic"},
		Shown: []string{"[func_name1("},
		Forms: []Form{
			{Bare: true, List: true, Then: "(", Arguments: Pythonic},
			{Begin: "<|python_start|>", List: true, Then: "(", Arguments: Pythonic, End: "<|python_end|>"},
			{Begin: "<|python_tag|>", List: true, Then: "(", Arguments: Pythonic},
		},
	},
	{
		Names: []string{"gemma3", "tool_code"},
		Shown: []string{"tool_code"},
		Forms: []Form{
			{Begin: "```tool_code\n", Then: "(", Arguments: Pythonic, Between: "\n", End: "\n```"},
			{Begin: "```tool_code\n", List: true, Then: "(", Arguments: Pythonic, End: "\n```"},
		},
	},
})

// fallback is how calls are written by a model whose way is not known: it
// needs no marks.
var fallback = FindFormat("llama3", "")

// Fallback is the format that a model can be made to write whose own is not
// known.
func Fallback() *Format { return fallback }

// compiled prepares descriptions for the parser.
func compiled(all []Format) []Format {
	for i := range all {
		f := &all[i]
		var marks []string
		for k := range f.Forms {
			m := &f.Forms[k]
			m.trim()
			if f.bare = f.bare || m.Bare; !m.Bare && !slices.Contains(marks, m.begin) {
				marks = append(marks, m.begin)
			}
		}
		if c := f.Channels; c != nil {
			f.message = newWords(c.Message)
			marks = append(append(marks, c.Ends...), c.Start, c.Channel)
		}
		f.marks = newWords(marks...)
	}
	return all
}

// trimmed are a form's texts without the white space around them, which the
// parser takes anywhere.
type trimmed struct {
	begin, close, end, between, valueClose string

	open, then, closes, ends, next words // then: and ID; next: what follows a call
	param, keyEnd, valueOpen, stop words // param: what follows a parameter; stop: what ends a call that broke
	lineBefore, lineAfter          bool  // see Params
}

func (m *Form) trim() {
	t, p := strings.TrimSpace, &m.Params
	m.begin, m.close, m.end, m.between, m.valueClose = t(m.Begin), t(m.Close), t(m.End), t(m.Between), t(p.Close)
	m.open, m.then, m.closes, m.ends = newWords(t(m.Open)), newWords(t(m.Then), m.ID), newWords(m.close), newWords(m.end)
	m.next = newWords(m.end, t(m.Open))
	m.param, m.keyEnd = newWords(t(p.Open), m.close, m.end), newWords(t(p.KeyEnd))
	var opens []string
	for _, s := range p.ValueOpen {
		opens = append(opens, t(s))
	}
	m.valueOpen = newWords(opens...)
	m.lineBefore = strings.HasSuffix(p.KeyEnd, "\n") && len(p.ValueOpen) == 0
	m.lineAfter = strings.HasPrefix(p.Close, "\n")
	m.stop = newWords(m.close, m.end, m.begin)
}

func prepared(all []Marks) []Marks {
	for i := range all {
		all[i].begins, all[i].ends = strings.TrimSpace(all[i].Begin), newWords(all[i].End)
	}
	return all
}
