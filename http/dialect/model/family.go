package model

import (
	"strings"

	"github.com/troupe-llm/troupe/tokenize/reply"
)

// Names of parsers that are none.
const (
	ParserAuto     = "auto"          // what the templates show
	ParserChannels = "openai_gptoss" // the name that vLLM has for what the format of calls divides, too
)

// Variables of templates that tell how much to reason: gpt-oss's template takes
// OpenAI's words, Qwen3's and others' whether there is to be any reasoning.
const (
	EffortVariable = "reasoning_effort"
	QuietVariable  = "enable_thinking"
)

// Family is what the served model's chat templates tell of it.
type Family struct {
	Format        *reply.Format // how it writes tool calls; nil: not known
	Reasoning     *reply.Marks  // what sets its reasoning apart; nil: nothing
	ShowsTools    bool
	TextArguments bool                            // see tokenize.ChatTemplates.TextArguments
	LeastMarks    func(users, assistants int) int // tokens around messages; nil without a tokenizer
	NineLetterIDs bool                            // see tokenize.ChatTemplates.NineLetterIDs
	Parts         map[string]bool                 // see tokenize.ChatTemplates.ContentParts
	Developers    bool                            // messages may be theirs
	LateSystems   bool                            // see tokenize.ChatTemplates.LateSystems
	Efforts       bool                            // it can be told how much to reason
	Quiet         bool                            // it can be told not to
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
	f.TextArguments, f.NineLetterIDs, f.Parts = tok.TextArguments(), tok.NineLetterIDs(), tok.ContentParts()
	f.LateSystems = tok.LateSystems()
	both := with + without
	f.Developers = strings.Contains(both, "developer")
	f.Efforts, f.Quiet = strings.Contains(both, EffortVariable), strings.Contains(both, QuietVariable)
	return f
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
