package model

import (
	"regexp"
	"strings"

	"github.com/troupe-llm/troupe/tokenize/reply"
)

// Names of parsers that are none.
const (
	ParserAuto     = "auto"          // what the templates show
	ParserChannels = "openai_gptoss" // the name that vLLM has for what the format of calls divides, too
)

// EffortVariable is that of gpt-oss's template, which takes OpenAI's words for how
// much to reason.
const EffortVariable = "reasoning_effort"

// switches are variables of other templates, which say whether there is to be any:
// Qwen3's and most others', and DeepSeek's, Granite's and Kimi's.
var switches = []*regexp.Regexp{
	regexp.MustCompile(`\b(enable_thinking)\b`),
	regexp.MustCompile(`(?:\bif|\belif|\band|\bor|\bnot|\() *(thinking)\b`),
}

// Family is what the served model's chat templates tell of it.
type Family struct {
	Format        *reply.Format // how it writes tool calls; nil: not known
	Reasoning     *reply.Marks  // what sets its reasoning apart; nil: nothing
	ShowsTools    bool
	LeastMarks    func(users, assistants int) int // tokens around messages; nil without a tokenizer
	NineLetterIDs bool                            // see tokenize.ChatTemplates.NineLetterIDs
	Parts         map[string]bool                 // see tokenize.ChatTemplates.ContentParts
	Developers    bool                            // messages may be theirs
	LateSystems   bool                            // see tokenize.ChatTemplates.LateSystems
	Alternates    bool                            // see tokenize.ChatTemplates.Alternates
	WholeTools    bool                            // see tokenize.ChatTemplates.WholeTools
	Efforts       bool                            // it can be told how much to reason
	Switch        string                          // the variable by which it can be told not to; "": there is none
}

// NewFamily takes from the templates of tok what the names of parsers leave to
// them; tok may be nil.
func NewFamily(toolParser, reasoningParser string, tok Tokenizer) Family {
	f := Family{Reasoning: reply.FindReasoning(reasoningParser)}
	if tok == nil {
		return f
	}
	with, without := tok.ChatTemplate(true), tok.ChatTemplate(false)
	if f.Format = reply.FindFormat(toolParser, with); toolParser == ParserAuto {
		f.Format = reply.DetectFormat(with)
	}
	if f.Format == nil && reasoningParser == ParserChannels {
		f.Format = reply.FindFormat("openai", with)
	}
	if reasoningParser == ParserAuto {
		f.Reasoning = reply.DetectReasoning(with, without)
	}
	f.ShowsTools = strings.Contains(with, "tools")
	f.LeastMarks = tok.LeastMarks
	f.NineLetterIDs, f.Parts = tok.NineLetterIDs(), tok.ContentParts()
	f.LateSystems, f.Alternates, f.WholeTools = tok.LateSystems(), tok.Alternates(), tok.WholeTools()
	both := with + without
	f.Developers = strings.Contains(both, "developer")
	f.Efforts = strings.Contains(both, EffortVariable)
	f.Switch = findSwitch(both)
	return f
}

// findSwitch is the variable of a template that says whether to reason.
func findSwitch(template string) string {
	for _, s := range switches {
		if m := s.FindStringSubmatch(template); m != nil {
			return m[1]
		}
	}
	return ""
}

// Channels reports whether replies are divided into messages.
func (f *Family) Channels() bool { return f.Format != nil && f.Format.Channels != nil }

// CallFormat is how calls are written: the family's way, or, when it is not
// known, one that needs no marks.
func (f *Family) CallFormat() *reply.Format {
	if f.Format == nil {
		return reply.Fallback()
	}
	return f.Format
}
