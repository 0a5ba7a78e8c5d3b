package reply

import "strings"

// Format is how a family of models writes calls of tools.
type Format string

// The formats; the package comment shows them.
const (
	None    Format = "none"
	Hermes  Format = "hermes"
	Llama3  Format = "llama3"
	Mistral Format = "mistral"
)

// Detect says how a model with this chat template writes calls; None when the
// template does not show any of the ways known here.
func Detect(template string) Format {
	has := func(s string) bool { return strings.Contains(template, s) }
	switch {
	case has("<function=") || has("<arg_key>") || has("functools["): // families of their own, with marks of others
		return None
	case has("<tool_call>"):
		return Hermes
	case has("[TOOL_CALLS]"):
		return Mistral
	case has("<|start_header_id|>") && has("ipython") && has(`"parameters"`):
		return Llama3
	}
	return None
}

// Thinks reports whether a model with this template puts reasoning between
// <think> and </think>.
func Thinks(template string) bool {
	return strings.Contains(template, thinkEnd) || strings.Contains(template, thinkMark)
}

// Opened reports whether a prompt that ends like this has begun the reasoning.
func Opened(prompt string) bool {
	return strings.HasSuffix(strings.TrimRight(prompt, " \n\t\r"), thinkMark)
}

// Unclosed reports whether reasoning is begun in a text, and not ended.
func Unclosed(text string) bool {
	return strings.LastIndex(text, thinkMark) > strings.LastIndex(text, thinkEnd)
}

const (
	thinkMark = "<think>"
	thinkEnd  = "</think>"

	hermesMark  = "<tool_call>"
	hermesEnd   = "</tool_call>"
	llamaMark   = "<|python_tag|>"
	mistralMark = "[TOOL_CALLS]"
	mistralArgs = "[ARGS]"
	mistralID   = "[CALL_ID]"
)

// mark is what begins calls; "" when nothing does.
func (f Format) mark() string {
	switch f {
	case Hermes:
		return hermesMark
	case Llama3:
		return llamaMark
	case Mistral:
		return mistralMark
	}
	return ""
}

// Marks are the tokens that a parser needs to see in the text, though a
// tokenizer may hold them to be special and leave them out.
func (o *Options) Marks() []string {
	var marks []string
	if o.Think {
		marks = append(marks, thinkMark, thinkEnd)
	}
	switch o.Format {
	case Hermes:
		marks = append(marks, hermesMark, hermesEnd)
	case Llama3:
		marks = append(marks, llamaMark)
	case Mistral:
		marks = append(marks, mistralMark, mistralArgs, mistralID)
	}
	return marks
}
