package reply

import (
	"bytes"
	"math"
)

// Options say what a reply may hold.
type Options struct {
	Format Format // of calls; "" is None: none are looked for
	// Names are the tools'. What no mark announces is a call only of one of
	// these.
	Names []string
	// One ends the reply with its first call.
	One bool

	// Think looks for reasoning at the beginning.
	Think bool
	// Opened says that the prompt has begun it.
	Opened bool
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
	// Arguments are a piece of a call's arguments, as JSON.
	Arguments
	// Returned ends a call: it is complete.
	Returned
	// Broken ends one that turned out to be none after it had been told; what
	// follows of it comes as text. Its text is all that was taken for the call.
	Broken
)

// Part is a piece of a reply, as much as came at once.
//
// White space next to reasoning and calls is not part of anything.
type Part struct {
	Kind Kind
	Call int    // which call, from 0; for the kinds that are about one
	Text []byte // see Kind; good until the parser is used again

	from, to int // in Parser.out
}

// Parser splits one reply into its parts.
//
// Invariant: the texts of all parts hold every byte of the reply but marks,
// white space next to them and what surrounds a call's name and arguments.
// While a call may still turn out to be none its bytes are kept.
type Parser struct {
	opts  Options
	state state
	seen  int // bytes of the reply up to the ones being parsed

	held  []byte // the end of the reply so far: may begin a mark
	space []byte // white space before: part of the text if text follows
	bare  bool   // white space that comes next is dropped
	begun bool   // some text was said
	until int    // see ReasoningEnd

	call   attempt
	calls  int // told so far
	intact int // calls that were returned

	out   []byte
	parts []Part
}

// state is what a parser is in the middle of.
type state uint8

const (
	opening   state = iota // nothing but white space yet
	thinking               // in the reasoning
	talking                // in the text
	afterCall              // of Hermes', where the closing mark is
	over
	// In what may be calls; see call.go.
	inCall
	separated
	beforeElement
	afterElement
	afterMark
	inName
	inTag
	inID
	inArgs
)

// NewParser makes a parser for one reply.
func NewParser(o Options) *Parser {
	p := &Parser{opts: o, state: opening, until: math.MaxInt}
	if !o.Think {
		p.state, p.until = talking, 0
	}
	return p
}

// Calls says how many complete calls there were.
func (p *Parser) Calls() int { return p.intact }

// Over reports that what follows does not matter.
func (p *Parser) Over() bool { return p.state == over }

// ReasoningEnd is how many bytes of the reply are reasoning, marks included:
// math.MaxInt while it may go on.
func (p *Parser) ReasoningEnd() int { return p.until }

// Add takes the next piece and returns what it brought.
func (p *Parser) Add(text []byte) []Part {
	p.out, p.parts = p.out[:0], p.parts[:0]
	p.take(text)
	return p.resolve()
}

// Finish takes the last piece, which may be empty, and returns what it brought
// and what was held back.
func (p *Parser) Finish(text []byte) []Part {
	p.out, p.parts = p.out[:0], p.parts[:0]
	p.take(text)
	switch p.state {
	case opening:
		if p.opts.Opened {
			p.emit(Reasoning, 0, p.held)
			p.bare = true
		} else {
			p.until = 0
			p.tell(Text, p.held)
		}
	case thinking:
		p.tell(Reasoning, p.held)
		p.bare = true
	case talking, afterCall:
		p.tell(Text, p.held)
	case over:
	default:
		p.fail()
	}
	if !p.bare {
		p.emit(Text, 0, p.space)
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
		return p.open(b)
	case thinking:
		i, found := find(b, thinkEnd)
		p.tell(Reasoning, b[:i])
		if found {
			i += len(thinkEnd)
			p.until = at + i
			p.state, p.bare, p.space = talking, true, p.space[:0]
		}
		return i, found
	case talking:
		return p.talk(b)
	case afterCall:
		return p.shut(b)
	case over:
		return len(b), true
	}
	if p.follow(b[0]) {
		return 1, true
	}
	p.fail()
	return 0, true
}

// find is where mark begins in b; if it is not there, where the tail does that
// may become it.
func find(b []byte, mark string) (at int, found bool) {
	if mark == "" {
		return len(b), false
	}
	for at < len(b) {
		i := bytes.IndexByte(b[at:], mark[0])
		if i < 0 {
			break
		}
		at += i
		if n := min(len(mark), len(b)-at); string(b[at:at+n]) == mark[:n] {
			return at, n == len(mark)
		}
		at++
	}
	return len(b), false
}

// open looks for the mark of reasoning, at the beginning.
func (p *Parser) open(b []byte) (int, bool) {
	i := 0
	for i < len(b) && space(b[i]) {
		i++
	}
	p.space = append(p.space, b[:i]...)
	n := min(len(b)-i, len(thinkMark))
	switch {
	case n == 0:
		return i, false
	case string(b[i:i+n]) != thinkMark[:n] && p.opts.Opened:
		p.state, p.bare, p.space = thinking, true, p.space[:0]
	case string(b[i:i+n]) != thinkMark[:n]:
		p.state, p.until = talking, 0
	case n < len(thinkMark):
		return i, false
	default:
		p.state, p.bare, p.space = thinking, true, p.space[:0]
		return i + n, true
	}
	return i, true
}

// tell tells text or reasoning, but for white space that may stand next to a
// mark.
func (p *Parser) tell(kind Kind, b []byte) {
	if p.bare {
		b = bytes.TrimLeft(b, " \n\t\r")
	}
	said := bytes.TrimRight(b, " \n\t\r")
	if len(said) > 0 {
		p.emit(kind, 0, p.space)
		p.emit(kind, 0, said)
		p.space, p.bare = p.space[:0], false
		p.begun = p.begun || kind == Text
	}
	p.space = append(p.space, b[len(said):]...)
}

// talk takes text up to a call.
func (p *Parser) talk(b []byte) (int, bool) {
	if p.opts.Format == Llama3 && !p.begun && p.calls == 0 {
		i := 0
		for i < len(b) && space(b[i]) {
			i++
		}
		if i > 0 {
			p.tell(Text, b[:i])
			return i, true
		}
		if b[0] == '{' {
			p.try(nil)
			return 0, true
		}
	}
	mark := p.opts.Format.mark()
	i, found := find(b, mark)
	p.tell(Text, b[:i])
	if found {
		p.try(b[i : i+len(mark)])
		i += len(mark)
	}
	return i, found || i == len(b)
}

// emit adds a part, or to the last one.
func (p *Parser) emit(kind Kind, call int, text []byte) {
	from := len(p.out)
	p.out = append(p.out, text...)
	if kind <= Reasoning || kind == Arguments {
		if len(text) == 0 {
			return
		}
		if n := len(p.parts); n > 0 && p.parts[n-1].Kind == kind && p.parts[n-1].Call == call {
			p.parts[n-1].to = len(p.out)
			return
		}
	}
	p.parts = append(p.parts, Part{Kind: kind, Call: call, from: from, to: len(p.out)})
}

// resolve gives the parts their texts, which do not move any more.
func (p *Parser) resolve() []Part {
	for i := range p.parts {
		part := &p.parts[i]
		part.Text = p.out[part.from:part.to:part.to]
	}
	return p.parts
}
