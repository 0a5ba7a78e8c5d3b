package reply

import (
	"slices"
	"strings"
)

// Format describes how a family of models writes calls of tools, and, where
// that is of one piece with it, all of its replies.
//
// The parser, the grammars and the tests read descriptions: a new family is
// one more in formats.go, and its examples in formats_test.go.
type Format struct {
	// Names are what it goes by, the first in this program, the others in vLLM.
	Names []string
	// Shown are texts that the chat templates of the family have, all of them.
	// The first format of the list that a template shows is its model's.
	Shown []string
	// Forms are ways to write calls. The first is the one that is written where
	// calls are demanded; all are read.
	Forms []Form
	// Channels, if given, are what replies are divided into. Then Forms is
	// empty: a call is a message to a tool.
	Channels *Channels
	// IDs are what ids of calls look like in the family's templates.
	IDs IDs
	// Tokens are special tokens within what is written below that are not
	// delimited as <…> or […].
	Tokens []string

	bare    bool  // some form is
	message words // Channels.Message
	marks   words // what announces calls, or divides messages; trimmed
}

// IDs are what ids of calls look like.
type IDs uint8

// The kinds of ids.
const (
	AnyIDs   IDs = iota
	ShortIDs     // nine letters and digits
	NamedIDs     // functions.name:number, counted from 0 over the conversation
)

// Form is one way to write calls:
//
//	Begin Open Prefix name ID Then arguments Close  Between  Open … Close  End
//
// White space may stand between all of these, whatever is said here: what is
// said is how models write it. End may be left out.
type Form struct {
	// Begin announces calls: a mark, which no other text has. Of a Bare form it
	// announces nothing: calls are looked for only where a reply begins, and
	// only of tools that there are.
	Begin string
	Bare  bool
	// List puts the calls in brackets, separated by commas.
	List bool
	// Single begins and ends anew for each call; Between stands outside.
	Single bool

	Open   string
	Prefix string // of the name; may be left out
	ID     string // begins something between name and Then that means nothing …
	// Numbered says that it is the call's number and always there.
	Numbered bool
	Then     string
	// Arguments is how they are written; with Object the name is in there, too.
	Arguments Encoding
	// Params describes the arguments when they are Tagged, and Object those
	// that are an Object.
	Params Params
	Object Members
	Close  string

	Between string
	End     string

	trimmed // for the parser
}

// Encoding is how arguments are written.
type Encoding uint8

// The encodings.
const (
	Object   Encoding = iota // {"name": "f", "arguments": {…}}, also all else that has a name in it
	JSON                     // {"x": 1}
	Tagged                   // one after the other, each within marks, strings as they are
	Pythonic                 // x=1, y='z'
	Unquoted                 // {x:1,y:<|"|>z<|"|>}
)

// Members are what name and arguments are called in an object.
type Members struct{ Name, Arguments string }

// Params are marks around parameters that are Tagged:
//
//	Open key KeyEnd ValueOpen value Close
//
// One line break that stands at the end of ValueOpen, or of KeyEnd where there
// is no ValueOpen, and at the beginning of Close, is no part of the value.
type Params struct {
	Open, KeyEnd string
	// ValueOpen may be left out. Where there are two, the second begins a value
	// that is JSON, and the first one that is a string.
	ValueOpen []string
	Close     string
}

// Channels divide a reply into messages:
//
//	Start role Channel name To recipient Message text End Start …
//
// Text of the Reasoning channel is reasoning, what is written to a tool calls
// it, and all other text is said to the user.
type Channels struct {
	Start, Channel, Message string
	Ends                    []string // of messages, the first of one that another follows
	Role                    string   // the model's
	Reasoning, Text, Calls  string   // channels
	To, Tools               string   // before a recipient, and before the name of one that is a tool
	Encoded                 string   // how a call says that it is JSON
}

// Marks are what sets reasoning apart from the answer.
type Marks struct {
	Names      []string // see Format
	Begin, End string

	begins string // trimmed
	ends   words
}

// FindFormat is the format of this name, nil when there is none. Of several it
// is the one that the chat template shows, or else the first.
func FindFormat(name, template string) (found *Format) {
	for i := range formats {
		f := &formats[i]
		if slices.Contains(f.Names, name) && (found == nil || !found.shownIn(template) && f.shownIn(template)) {
			found = f
		}
	}
	return found
}

// DetectFormat is that of a model with this chat template, nil when the
// template does not show any that is known here.
func DetectFormat(template string) *Format {
	for i := range formats {
		if formats[i].shownIn(template) {
			return &formats[i]
		}
	}
	return nil
}

func (f *Format) shownIn(template string) bool {
	return !slices.ContainsFunc(f.Shown, func(s string) bool { return !strings.Contains(template, s) })
}

// FindReasoning is the way of this name, nil when there is none.
func FindReasoning(name string) *Marks {
	for i := range reasonings {
		if slices.Contains(reasonings[i].Names, name) {
			return &reasonings[i]
		}
	}
	return nil
}

// DetectReasoning is that of a model with these chat templates, nil when they
// do not show any.
func DetectReasoning(templates ...string) *Marks {
	for i := range reasonings {
		r := &reasonings[i]
		for _, t := range templates {
			if strings.Contains(t, strings.TrimSpace(r.Begin)) || strings.Contains(t, r.End) {
				return r
			}
		}
	}
	return nil
}

// FormatNames are all names that FindFormat knows.
func FormatNames() (all []string) {
	for i := range formats {
		for _, name := range formats[i].Names {
			if !slices.Contains(all, name) {
				all = append(all, name)
			}
		}
	}
	return all
}

// ReasoningNames are all names that FindReasoning knows.
func ReasoningNames() (all []string) {
	for i := range reasonings {
		all = append(all, reasonings[i].Names...)
	}
	return all
}

// unclosed reports whether reasoning is begun in a text, and not ended.
func (r *Marks) unclosed(text string) bool {
	return strings.LastIndex(text, r.Begin) > strings.LastIndex(text, r.End)
}

// Typed reports whether calls are read by the types of tools' parameters.
func (f *Format) Typed() bool {
	return f != nil && slices.ContainsFunc(f.Forms, func(m Form) bool { return m.Arguments == Tagged })
}

// Name is the format's usual one, "none" of nil.
func (f *Format) Name() string {
	if f == nil {
		return "none"
	}
	return f.Names[0]
}

// Tokens are those that a parser needs to see in the text, though a
// tokenizer may hold them to be special and leave them out.
func (o *Options) Tokens() (marks []string) {
	if o.Reasoning != nil {
		marks = append(marks, tokens(o.Reasoning.Begin, o.Reasoning.End)...)
	}
	if o.Format != nil {
		marks = append(marks, o.Format.tokens()...)
	}
	return marks
}

// AllTokens are those of all formats. Where a tokenizer has a token for one, that
// is how models write it.
func AllTokens() (all []string) {
	for i := range reasonings {
		all = append(all, tokens(reasonings[i].Begin, reasonings[i].End)...)
	}
	for i := range formats {
		all = append(all, formats[i].tokens()...)
	}
	slices.Sort(all)
	return slices.Compact(all)
}

func (f *Format) tokens() []string {
	all := slices.Clone(f.Tokens)
	for i := range f.Forms {
		m := &f.Forms[i]
		all = append(all, tokens(m.Begin, m.Open, m.ID, m.Then, m.Params.Open, m.Params.KeyEnd, m.Params.Close, m.Close, m.End)...)
		all = append(all, tokens(m.Params.ValueOpen...)...)
	}
	if c := f.Channels; c != nil {
		all = append(all, tokens(append([]string{c.Start, c.Channel, c.Message, c.Encoded}, c.Ends...)...)...)
	}
	return all
}

// tokens are what is delimited in texts as special tokens are, and the texts
// themselves where they have no space in them.
func tokens(texts ...string) (all []string) {
	for _, s := range texts {
		for len(s) > 0 {
			i := strings.IndexAny(s, "<[")
			if i < 0 {
				break
			}
			n := strings.IndexByte(s[i:], s[i]+2) // '<' and '>', '[' and ']' are two apart
			if n < 0 {
				break
			}
			if token := s[i : i+n+1]; !strings.ContainsAny(token, " \n") {
				all = append(all, token)
			}
			s = s[i+n+1:]
		}
	}
	return all
}
