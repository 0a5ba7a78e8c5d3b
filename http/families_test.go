package http

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"text/template"

	"github.com/troupe-llm/troupe/tokenize"
	"github.com/troupe-llm/troupe/tokenize/reply"
)

// family is a kind of models, as far as what they write goes.
type family struct {
	name string
	// shown is what their chat template has in it, by which they are known.
	shown string
	// published is a template of such a model among the fixtures, which is used where
	// they are.
	published string
	// thought and said are around reasoning, if there is any, and an answer.
	thought, said string
	// calls is a text/template of a list of calls.
	calls string
	// alone says that nothing is said beside calls, single that there is only one.
	alone, single bool
}

const thinkTags = "<think>\n%s\n</think>\n\n"

// families write each format that is read.
var families = []family{
	{
		name: "qwen3", shown: "<tool_call><think>", published: "Qwen-Qwen3-0.6B", thought: thinkTags,
		calls: `{{range .}}<tool_call>{{"\n"}}{"name": "{{.Name}}", "arguments": {{.JSON}}}{{"\n"}}</tool_call>{{"\n"}}{{end}}`,
	},
	{
		name: "hermes", shown: "<tool_call>", published: "NousResearch-Hermes-3-Llama-3.1-8B-tool_use",
		calls: `{{range .}}<tool_call>{{"\n"}}{"arguments": {{.JSON}}, "name": "{{.Name}}"}{{"\n"}}</tool_call>{{"\n"}}{{end}}`,
	},
	{
		name: "qwen3-coder", shown: "<tool_call><function=><parameter=>",
		calls: `{{range .}}<tool_call>{{"\n"}}<function={{.Name}}>{{"\n"}}{{range .Args}}<parameter={{.Key}}>{{"\n"}}{{.Text}}{{"\n"}}</parameter>{{"\n"}}{{end}}</function>{{"\n"}}</tool_call>{{"\n"}}{{end}}`,
	},
	{
		name: "seed-oss", shown: "<seed:tool_call><function=><seed:think>", published: "ByteDance-Seed-OSS", thought: "<seed:think>%s</seed:think>\n",
		calls: `{{range .}}<seed:tool_call>{{"\n"}}<function={{.Name}}>{{"\n"}}{{range .Args}}<parameter={{.Key}}>{{.Text}}</parameter>{{"\n"}}{{end}}</function>{{"\n"}}</seed:tool_call>{{"\n"}}{{end}}`,
	},
	{
		name: "glm-4.5", shown: "<tool_call><arg_key><think>", thought: "\n<think>%s</think>\n",
		calls: `{{range .}}<tool_call>{{.Name}}{{"\n"}}{{range .Args}}<arg_key>{{.Key}}</arg_key>{{"\n"}}<arg_value>{{.Text}}</arg_value>{{"\n"}}{{end}}</tool_call>{{"\n"}}{{end}}`,
	},
	{
		name: "minimax-m2", shown: "<minimax:tool_call><think>", thought: thinkTags,
		calls: `<minimax:tool_call>{{"\n"}}{{range .}}<invoke name="{{.Name}}">{{"\n"}}{{range .Args}}<parameter name="{{.Key}}">{{.Text}}</parameter>{{"\n"}}{{end}}</invoke>{{"\n"}}{{end}}</minimax:tool_call>`,
	},
	{
		name: "deepseek-v3.2", shown: "｜DSML｜<think>", thought: "<think>%s</think>",
		calls: "\n\n" + `<｜DSML｜function_calls>{{"\n"}}{{range .}}<｜DSML｜invoke name="{{.Name}}">{{"\n"}}{{range .Args}}<｜DSML｜parameter name="{{.Key}}" string="{{.IsText}}">{{.Text}}</｜DSML｜parameter>{{"\n"}}{{end}}</｜DSML｜invoke>{{"\n"}}{{end}}</｜DSML｜function_calls>`,
	},
	{
		name: "deepseek-v3", shown: "<｜tool▁sep｜>```json",
		calls: "<｜tool▁calls▁begin｜>{{range $i, $_ := .}}{{if $i}}\n{{end}}<｜tool▁call▁begin｜>function<｜tool▁sep｜>{{.Name}}\n```json\n{{.JSON}}\n```<｜tool▁call▁end｜>{{end}}<｜tool▁calls▁end｜>",
	},
	{
		// The published template shows no tools.
		name: "deepseek-v3.1", shown: "<｜tool▁sep｜><think>", thought: "<think>%s</think>",
		calls: `<｜tool▁calls▁begin｜>{{range .}}<｜tool▁call▁begin｜>{{.Name}}<｜tool▁sep｜>{{.JSON}}<｜tool▁call▁end｜>{{end}}<｜tool▁calls▁end｜>`,
	},
	{
		name: "kimi-k2", shown: "<|tool_calls_section_begin|>", published: "moonshotai-Kimi-K2",
		calls: `<|tool_calls_section_begin|>{{range $i, $_ := .}}<|tool_call_begin|>functions.{{.Name}}:{{$i}}<|tool_call_argument_begin|>{{.JSON}}<|tool_call_end|>{{end}}<|tool_calls_section_end|>`,
	},
	{
		name: "gpt-oss", shown: "<|start|><|channel|><|message|>functions", published: "openai-gpt-oss-120b", single: true, alone: true,
		thought: "<|channel|>analysis<|message|>%s<|end|><|start|>assistant", said: "<|channel|>final<|message|>%s",
		calls: `{{range .}}<|channel|>commentary to=functions.{{.Name}} <|constrain|>json<|message|>{{.JSON}}<|call|>{{end}}`,
	},
	{
		name: "gemma-4", shown: `<|tool_call>call:<|channel>thought`, thought: "<|channel>thought\n%s\n<channel|>",
		calls: `{{range .}}<|tool_call>call:{{.Name}}{ {{- range $i, $_ := .Args}}{{if $i}},{{end}}{{.Key}}:{{.Marked "<|\"|>"}}{{end}}}<tool_call|>{{end}}`,
	},
	{
		name: "functiongemma", shown: `<start_function_call>`,
		calls: `{{range .}}<start_function_call>call:{{.Name}}{ {{- range $i, $_ := .Args}}{{if $i}},{{end}}{{.Key}}:{{.Marked "<escape>"}}{{end}}}<end_function_call>{{end}}`,
	},
	{
		name: "gemma-3", shown: "tool_code",
		calls: "\n```tool_code\n{{range .}}{{.Name}}({{range $i, $_ := .Args}}{{if $i}}, {{end}}{{.Key}}={{.JSON}}{{end}})\n{{end}}```",
	},
	{name: "phi-4-mini-functools", shown: "functools[", calls: "functools" + listed},
	{name: "phi-4-mini", shown: "<|/tool_call|>", calls: "<|tool_call|>" + listed + "<|/tool_call|>"},
	{name: "granite-3", shown: "<|tool_call|>", published: "ibm-granite-granite-3.3-2B-Instruct", calls: "<|tool_call|>" + listed},
	{
		name: "granite-20b", shown: "<function_call>",
		calls: `{{range .}}<function_call> {"name": "{{.Name}}", "arguments": {{.JSON}}}{{end}}`,
	},
	{name: "nemotron-nano-2", shown: "<TOOLCALL><think>", published: "NVIDIA-Nemotron-Nano-v2", thought: thinkTags, calls: "<TOOLCALL>" + listed + "</TOOLCALL>"},
	{name: "jamba", shown: "<tool_calls>", calls: "<tool_calls>" + listed + "</tool_calls>"},
	{
		name: "command-r7b", shown: "<|START_ACTION|>", published: "CohereForAI-c4ai-command-r7b-12-2024-tool_use", alone: true,
		calls: `<|START_ACTION|>[{{range $i, $_ := .}}{{if $i}},{{end}}{"tool_call_id": "{{$i}}", "tool_name": "{{.Name}}", "parameters": {{.JSON}}}{{end}}]<|END_ACTION|>`,
	},
	{
		name: "functionary", shown: "<function=</function>", published: "meetkai-functionary-medium-v3.1",
		calls: `{{range .}}<function={{.Name}}>{{.JSON}}</function>{{end}}`,
	},
	{name: "mistral-nemo", shown: "[TOOL_CALLS]", published: "mistralai-Mistral-Nemo-Instruct-2407", alone: true, calls: "[TOOL_CALLS]" + listed},
	{
		name: "devstral", shown: "[TOOL_CALLS][ARGS]", published: "unsloth-mistral-Devstral-Small-2507",
		calls: `{{range .}}[TOOL_CALLS]{{.Name}}[ARGS]{{.JSON}}{{end}}`,
	},
	{
		name: "llama-3.1", shown: `ipython"parameters"`, published: "meta-llama-Llama-3.1-8B-Instruct", alone: true, single: true,
		calls: `{{range .}}{"name": "{{.Name}}", "parameters": {{.JSON}}}{{end}}`,
	},
	{
		name: "llama-pythonic", shown: "[func_name1(", alone: true,
		calls: `[{{range $i, $_ := .}}{{if $i}}, {{end}}{{.Name}}({{range $i, $_ := .Args}}{{if $i}}, {{end}}{{.Key}}={{.JSON}}{{end}}){{end}}]`,
	},
	{
		name: "olmo-3", shown: "<function_calls>",
		calls: `<function_calls>{{range $i, $_ := .}}{{if $i}}{{"\n"}}{{end}}{{.Name}}({{range $i, $_ := .Args}}{{if $i}}, {{end}}{{.Key}}={{.JSON}}{{end}}){{end}}</function_calls>`,
	},
}

// listed are calls as a list of objects.
const listed = `[{{range $i, $_ := .}}{{if $i}}, {{end}}{"name": "{{.Name}}", "arguments": {{.JSON}}}{{end}}]`

// called is a call of a tool.
type called struct {
	Name string
	Args []argument
}

// argument has a value as encoding/json knows it.
type argument struct {
	Key   string
	Value any
}

func (c called) JSON() string {
	var members []string
	for _, a := range c.Args {
		members = append(members, fmt.Sprintf("%q: %s", a.Key, a.JSON()))
	}
	return "{" + strings.Join(members, ", ") + "}"
}

// JSON is also how Python would write what is no constant.
func (a argument) JSON() string {
	var b strings.Builder
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(a.Value); err != nil {
		panic(err)
	}
	return strings.TrimSuffix(b.String(), "\n")
}

func (a argument) IsText() bool { _, is := a.Value.(string); return is }

// Text leaves a string as it is.
func (a argument) Text() string {
	if s, is := a.Value.(string); is {
		return s
	}
	return a.JSON()
}

// Marked has a string between marks.
func (a argument) Marked(mark string) string {
	if a.IsText() {
		return mark + a.Text() + mark
	}
	return a.JSON()
}

// writes is a reply of the family's.
func (f *family) writes(thought, said string, calls ...called) string {
	var b strings.Builder
	if f.thought != "" && thought != "" {
		fmt.Fprintf(&b, f.thought, thought)
	}
	switch {
	case len(calls) == 0 && f.said != "":
		fmt.Fprintf(&b, f.said, said)
	case len(calls) == 0 || !f.alone:
		b.WriteString(said)
	}
	if len(calls) > 0 {
		if err := template.Must(template.New(f.name).Parse(f.calls)).Execute(&b, calls); err != nil {
			panic(err)
		}
	}
	return b.String()
}

// plainTemplate shows all there is in a conversation, and by what a family is known.
const plainTemplate = `{{ tools | tojson }}{%% for m in messages %%}[{{ m.role }}]{{ m.content }}` +
	`{%% for c in m.tool_calls %%}{{ c | tojson }}{%% endfor %%}{%% endfor %%}[assistant]{# %s #}`

// templated is byteTokenizer with a family's chat template.
type templated struct {
	byteTokenizer
	*tokenize.ChatTemplates
	source string
}

func (t *templated) Render(c tokenize.Chat) (string, error) { return t.ChatTemplates.Render(c) }
func (t *templated) ChatTemplate(bool) string               { return t.source }

func (t *templated) NineLetterIDs() bool { return t.ChatTemplates.NineLetterIDs() }

func (t *templated) Alternates() bool { return t.ChatTemplates.Alternates() }

func (t *templated) WholeTools() bool { return t.ChatTemplates.WholeTools() }

func (t *templated) ContentParts() map[string]bool { return t.ChatTemplates.ContentParts() }

func (t *templated) LateSystems() bool                  { return t.ChatTemplates.LateSystems() }
func (t *templated) LeastMarks(int, int) int            { return 0 }
func (t *templated) LeastChatTokens(*tokenize.Chat) int { return 0 }
func (t *templated) IsSpecial(int32) bool               { return false }

// tokenizer has the family's template, one that was published if it is there.
func (f *family) tokenizer(tb testing.TB) *templated {
	tb.Helper()
	source := fmt.Sprintf(plainTemplate, f.shown)
	dir := os.Getenv("TROUPE_FIXTURES")
	if dir == "" {
		dir = filepath.Join("..", "..", "shared", "fixtures")
	}
	if text, err := os.ReadFile(filepath.Join(dir, "chat", "templates", f.published+".jinja")); f.published != "" && err == nil {
		source = string(text)
	}
	files := fstest.MapFS{
		"chat_template.jinja":   {Data: []byte(source)},
		"tokenizer_config.json": {Data: []byte(`{"bos_token": "<s>", "eos_token": "</s>"}`)},
	}
	if strings.HasSuffix(f.published, "-tool_use") { // there is another where there are no tools
		files["additional_chat_templates/tool_use.jinja"] = files["chat_template.jinja"]
		files["chat_template.jinja"] = &fstest.MapFile{Data: fmt.Appendf(nil, plainTemplate, f.shown)}
	}
	c, err := tokenize.LoadChat(files)
	if err != nil {
		tb.Fatal(err)
	}
	return &templated{ChatTemplates: c, source: source}
}

// TestFamiliesWithoutTools has conversations that need none, as titles do.
func TestFamiliesWithoutTools(t *testing.T) {
	chat := *tokenize.NewChat(tokenize.UserMessage("Hello!"))
	for i := range families {
		f := &families[i]
		if prompt, err := f.tokenizer(t).Render(chat); err != nil || !strings.Contains(prompt, "Hello!") {
			t.Errorf("%s: %q, %v", f.name, prompt, err)
		}
	}
}

// TestFamiliesWriteAllFormats has no format that no family writes.
func TestFamiliesWriteAllFormats(t *testing.T) {
	var formats []*reply.Format
	for i := range families {
		f := &families[i]
		shown := reply.DetectFormat(f.shown)
		if shown == nil || reply.DetectFormat(f.tokenizer(t).source) != shown {
			t.Errorf("%s: its format is %+v by what is said of it, another by its template", f.name, shown)
		}
		formats = append(formats, shown)
	}
	for _, name := range reply.FormatNames() {
		if !slices.Contains(formats, reply.FindFormat(name, "")) {
			t.Errorf("no family writes %s", name)
		}
	}
}
