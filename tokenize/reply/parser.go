package reply

import (
	"bytes"
	"math"
	"strings"
)

// Options say what a reply may hold.
type Options struct {
	// Format is how calls are written, nil when none are looked for. One with
	// Channels divides the reply whether there are tools or not.
	Format *Format
	// Tools are those that there are. What no mark announces is a call only of
	// one of these.
	Tools []Tool
	// Required says that calls are all there may be beside reasoning: what is
	// left of one that was cut off is no text.
	Required bool
	// One ends the reply with its first call.
	One bool

	// Reasoning is looked for at the beginning, unless nil.
	Reasoning *Marks
	// Joined has the reasoning of a reply with channels in the text.
	Joined bool
	// Opened says that the prompt has begun it, Ended that it has ended it: then
	// a grammar's reply has none.
	Opened, Ended bool
	// Continued says that the prompt ends in the middle of a reply, and that
	// Opened tells already.
	Continued bool
}

// After is the options for a reply to a prompt that ends like this.
func (o Options) After(prompt string) Options {
	if o.Reasoning == nil {
		return o
	}
	prompt = strings.TrimRight(prompt, " \n\t\r")
	ended := strings.HasSuffix(prompt, strings.TrimSpace(o.Reasoning.End))
	if o.Continued {
		o.Ended = o.Ended || ended && !o.Opened
		return o
	}
	o.Opened, o.Ended = strings.HasSuffix(prompt, strings.TrimSpace(o.Reasoning.Begin)), ended
	return o
}

// Continues is the options for a reply that goes on with this text.
func (o Options) Continues(text string) Options {
	o.Continued = true
	o.Opened = o.Reasoning != nil && o.Reasoning.unclosed(text)
	o.Ended = o.Reasoning != nil && !o.Opened && strings.Contains(text, strings.TrimSpace(o.Reasoning.End))
	return o
}

// Parsed reports whether there is anything to be found but text.
func (o *Options) Parsed() bool { return o.Format != nil || o.Reasoning != nil }

// Thinks reports whether reasoning is told as such.
func (o *Options) Thinks() bool {
	return o.Reasoning != nil || o.Format != nil && o.Format.Channels != nil && !o.Joined
}

// Kind is what a part is.
type Kind uint8

const (
	// Text is said to the user.
	Text Kind = iota
	// Reasoning comes before the text.
	Reasoning
	// Call is the beginning of a call, with the tool's name.
	Call
	// Arguments are a piece of a call's arguments, as JSON. Those of a call that
	// goes on as none does are as they were written, from there on.
	Arguments
	// Returned ends a call: it is complete. The last call of a reply that was
	// cut off has no such part.
	Returned
)

// Part is a piece of a reply, as much as came at once.
//
// White space next to reasoning and calls is not part of anything.
type Part struct {
	Kind Kind
	Call int    // which call, from 0; for the kinds that are about one
	Text []byte // see Kind; good until the parser is used again
	At   int    // of Text: where in the reply it begins

	from, to int // in Parser.out
}

// Parser splits one reply into its parts.
//
// Invariant: the texts of all parts hold every byte of the reply but marks,
// white space next to them and what surrounds a call's name and arguments.
// While a call may still turn out to be none its bytes are kept; one that was
// told stays a call, whatever follows.
type Parser struct {
	opts  Options
	state state
	marks *words // of calls or channels
	seen  int    // bytes of the reply up to the ones being parsed

	held  []byte // the end of the reply so far: may begin a mark
	space []byte // white space before: part of the text if text follows
	bare  bool   // white space that comes next is dropped
	begun bool   // some text was said
	until int    // see ReasoningEnd

	raw      []byte // what may be calls and is not told, and the white space before
	sections []section
	live     []*section // the forms that it may be of
	marked   bool       // it was announced, or comes behind a call
	header   []byte     // of a message
	quoting  quoting    // of the arguments in one

	calls int // told so far

	out   []byte
	parts []Part
}

// state is what a parser is in the middle of.
type state uint8

const (
	opening       state = iota // nothing but white space yet
	inReasoning                // in the reasoning
	inText                     // in the text
	inCalls                    // in what may be calls
	inBrokenCall               // in a call that went on as none does
	inHeader                   // in the header of a message
	inToolMessage              // in a message to a tool
	over
)

// NewParser makes a parser for one reply.
func NewParser(o Options) *Parser {
	p := &Parser{opts: o, marks: &words{}, until: math.MaxInt}
	switch {
	case o.Format != nil && o.Format.Channels != nil:
		p.marks = &o.Format.marks
	case o.Reasoning == nil:
		p.state, p.until = inText, 0
		fallthrough
	default:
		if o.Format != nil {
			p.marks = &o.Format.marks
		}
	}
	return p
}

// Calls says how many calls there were.
func (p *Parser) Calls() int { return p.calls }

// Over reports that what follows does not matter.
func (p *Parser) Over() bool { return p.state == over }

// ReasoningEnd is up to which byte the reply is reasoning, marks included:
// math.MaxInt while it may go on.
func (p *Parser) ReasoningEnd() int { return p.until }

// Settled is how many bytes of the reply have been told, or will not be text.
func (p *Parser) Settled() int {
	n := p.seen - len(p.held) - len(p.space)
	if p.state == inCalls {
		n -= len(p.raw)
	}
	return n
}

// Add takes the next piece and returns what it brought.
func (p *Parser) Add(text []byte) []Part {
	p.out, p.parts = p.out[:0], p.parts[:0]
	p.take(text)
	return p.resolve()
}

// Finish takes the last piece, which may be empty, and returns what it brought
// and what was held back. What is left of a call that was not told is told to
// nobody.
func (p *Parser) Finish(text []byte) []Part {
	p.out, p.parts = p.out[:0], p.parts[:0]
	p.take(text)
	switch p.state {
	case opening:
		switch {
		case p.opts.Opened:
			p.emit(Reasoning, 0, p.held, p.seen)
			p.bare = true
		case p.opts.Required:
			p.bare = true
		default:
			p.until = 0
			p.tell(Text, p.held, p.seen)
		}
	case inReasoning:
		p.tell(Reasoning, p.held, p.seen)
		p.bare = true
	case inText:
		if p.opts.Required && p.channels() == nil {
			p.bare = true
		} else {
			p.tell(Text, p.held, p.seen)
		}
	case inCalls:
		if p.marked || p.opts.Required || len(p.raw) == 0 {
			p.bare = true
		} else {
			p.fail(p.seen)
		}
	case inBrokenCall:
		p.emit(Arguments, p.calls-1, p.held, p.seen)
	case inToolMessage:
		p.argue(p.held)
		p.bare = true
	}
	if !p.bare {
		p.emit(Text, 0, p.space, p.seen)
	}
	p.held, p.space = p.held[:0], p.space[:0]
	return p.resolve()
}

// take parses as much as can be.
func (p *Parser) take(text []byte) {
	b := text
	if len(p.held) > 0 {
		b = append(p.held, text...)
		p.held = b[:0]
	}
	begin := p.seen - (len(b) - len(text))
	p.seen += len(text)
	at := 0
	for at < len(b) {
		n, enough := p.step(b[at:], begin+at)
		at += n
		if !enough {
			break
		}
	}
	p.held = append(p.held[:0], b[at:]...)
}

// step takes some of b, which begins at byte at of the reply, and reports
// whether that was enough to go on with the rest.
func (p *Parser) step(b []byte, at int) (n int, enough bool) {
	switch p.state {
	case opening:
		if p.channels() != nil {
			return p.openMessage(b)
		}
		return p.open(b)
	case inReasoning:
		return p.think(b, at)
	case inText:
		return p.talk(b, at)
	case inCalls:
		return p.follow(b, at), true
	case inBrokenCall:
		return p.breaks(b, at)
	case inHeader:
		return p.head(b)
	case inToolMessage:
		return p.send(b)
	}
	return len(b), true
}

// open looks for the mark of reasoning, at the beginning.
func (p *Parser) open(b []byte) (int, bool) {
	mark := p.opts.Reasoning.begins
	i := 0
	for i < len(b) && space(b[i]) {
		i++
	}
	p.space = append(p.space, b[:i]...)
	n := min(len(b)-i, len(mark))
	switch {
	case n == 0:
		return i, false
	case string(b[i:i+n]) != mark[:n] && p.opts.Opened:
		p.state, p.bare, p.space = inReasoning, true, p.space[:0]
	case string(b[i:i+n]) != mark[:n]:
		p.state, p.until = inText, 0
	case n < len(mark):
		return i, false
	default:
		p.state, p.bare, p.space = inReasoning, true, p.space[:0]
		return i + n, true
	}
	return i, true
}

// think takes reasoning up to its end.
func (p *Parser) think(b []byte, at int) (int, bool) {
	if p.channels() != nil {
		return p.message(Reasoning, b, at)
	}
	i, _, found := p.opts.Reasoning.ends.find(b)
	p.tell(Reasoning, b[:i], at+i)
	if found {
		i += len(p.opts.Reasoning.End)
		p.until = at + i
		p.state, p.bare, p.space = inText, true, p.space[:0]
	}
	return i, found
}

// tell tells text or reasoning, but for white space that may stand next to a
// mark. It ends at byte end of the reply.
func (p *Parser) tell(kind Kind, b []byte, end int) {
	if p.bare {
		b = bytes.TrimLeft(b, " \n\t\r")
	}
	said := b
	if kind != Text || p.marks.firsts != nil {
		said = bytes.TrimRight(b, " \n\t\r")
	}
	if len(said) > 0 {
		if len(p.space) > 0 {
			p.emit(kind, 0, p.space, end-len(b))
		}
		p.emit(kind, 0, said, end-len(b)+len(said))
		p.space, p.bare = p.space[:0], false
		p.begun = p.begun || kind == Text
	}
	p.space = append(p.space, b[len(said):]...)
}

// talk takes text up to a call.
func (p *Parser) talk(b []byte, at int) (int, bool) {
	f := p.opts.Format
	switch {
	case f == nil:
		p.tell(Text, b, at+len(b))
		return len(b), true
	case f.Channels != nil:
		return p.message(Text, b, at)
	case f.bare && !p.begun && p.calls == 0:
		i := 0
		for i < len(b) && space(b[i]) {
			i++
		}
		if i > 0 {
			p.tell(Text, b[:i], at+i)
			return i, true
		}
		if p.begin("", nil) {
			return p.follow(b, at), true
		}
	}
	i, which, found := p.marks.find(b)
	p.tell(Text, b[:i], at+i)
	if found {
		mark := p.marks.all[which]
		p.begin(mark, b[i:i+len(mark)])
		i += len(mark)
	}
	return i, found || i == len(b)
}

// emit adds a part that ends at byte end of the reply, or adds to the last one.
func (p *Parser) emit(kind Kind, call int, text []byte, end int) {
	from := len(p.out)
	p.out = append(p.out, text...)
	p.grown(kind, call, from, end)
}

// grown makes what was appended to out a part.
func (p *Parser) grown(kind Kind, call, from, end int) {
	at := end - (len(p.out) - from)
	if kind <= Reasoning || kind == Arguments {
		if len(p.out) == from {
			return
		}
		if n := len(p.parts); n > 0 {
			last := &p.parts[n-1]
			if last.Kind == kind && last.Call == call && (kind != Text || last.At+last.to-last.from == at) {
				last.to = len(p.out)
				return
			}
		}
	}
	p.parts = append(p.parts, Part{Kind: kind, Call: call, At: at, from: from, to: len(p.out)})
}

// resolve gives the parts their texts, which do not move any more.
func (p *Parser) resolve() []Part {
	for i := range p.parts {
		part := &p.parts[i]
		part.Text = p.out[part.from:part.to:part.to]
	}
	return p.parts
}
