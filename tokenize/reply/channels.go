package reply

import (
	"bytes"
	"math"
	"strings"
)

func (p *Parser) channels() *Channels {
	if p.opts.Format == nil {
		return nil
	}
	return p.opts.Format.Channels
}

// openMessage tells whether a reply begins in a header or, as the prompt did
// so, in a message.
func (p *Parser) openMessage(b []byte) (int, bool) {
	ch := p.channels()
	headers := words{all: []string{ch.Start, ch.Channel, ch.To}}
	switch _, v := headers.at(b); {
	case p.opts.Opened:
		p.state, p.bare = inReasoning, true
	case p.opts.Continued:
		p.state, p.until = inText, 0
	case v == more:
		return 0, false
	case v == ends:
		p.state, p.until = inHeader, 0
	default:
		p.state, p.until = inText, 0
	}
	return 0, true
}

// head takes the header of a message.
func (p *Parser) head(b []byte) (int, bool) {
	ch := p.channels()
	i, _, found := p.opts.Format.message.find(b)
	p.header = append(p.header, b[:i]...)
	if !found {
		return i, false
	}
	p.receive(readHeader(ch, string(p.header)))
	p.header = p.header[:0]
	return i + len(ch.Message), true
}

// header is what the header of a message says.
type header struct{ channel, recipient string }

func readHeader(ch *Channels, s string) (h header) {
	word := func(after string) string {
		i := strings.LastIndex(s, after)
		if i < 0 {
			return ""
		}
		rest := s[i+len(after):]
		if n := strings.IndexAny(rest, " <\n\t\r"); n >= 0 {
			rest = rest[:n]
		}
		return rest
	}
	return header{word(ch.Channel), word(strings.TrimSpace(ch.To))}
}

// receive begins a message.
func (p *Parser) receive(h header) {
	ch := p.channels()
	name, isTool := strings.CutPrefix(h.recipient, ch.Tools)
	s := section{tools: p.opts.Tools}
	p.space, p.bare = p.space[:0], true
	switch {
	case len(p.opts.Tools) > 0 && (isTool && name != "" || s.tool(h.recipient) >= 0):
		p.state, p.until = inToolMessage, min(p.until, p.seen)
		p.quoting.begin()
		p.emit(Call, p.calls, []byte(name), 0)
		p.calls++
	case !p.opts.Joined && (h.recipient != "" && h.recipient != "user" || h.channel == ch.Reasoning):
		p.state, p.until = inReasoning, math.MaxInt // what it does by itself is its own business
	default:
		if p.state = inText; p.begun {
			p.space = append(p.space, "\n\n"...)
		}
	}
}

// message takes text or reasoning up to the end of its message.
func (p *Parser) message(kind Kind, b []byte, at int) (int, bool) {
	i, which, found := p.marks.find(b)
	p.tell(kind, b[:i], at+i)
	if found {
		if kind == Reasoning {
			p.until = at + i
		}
		i += p.ended(which)
	}
	return i, found || i == len(b)
}

// ended ends a message at a mark, and returns how much of that was taken.
func (p *Parser) ended(which int) int {
	p.state, p.space, p.bare = inHeader, p.space[:0], true
	if which < len(p.channels().Ends) {
		return len(p.marks.all[which])
	}
	return 0
}

// send takes arguments up to the end of their message, which is not within a
// string.
func (p *Parser) send(b []byte) (n int, enough bool) {
	for {
		i, which, found := p.marks.find(b[n:])
		if found && i == 0 && p.quoting.within() {
			i, found = 1, false
		} else if !found && i == 0 {
			return n, n == len(b)
		}
		p.quoting.add(b[n : n+i])
		p.argue(b[n : n+i])
		if n += i; !found {
			continue
		}
		if p.quoting.within() {
			continue
		}
		if p.bare {
			p.argue([]byte("{}"))
		}
		p.emit(Returned, p.calls-1, nil, 0)
		n += p.ended(which)
		if p.opts.One {
			p.state = over
		}
		return n, true
	}
}

// argue tells arguments, without the white space around them.
func (p *Parser) argue(b []byte) {
	if p.bare {
		b = bytes.TrimLeft(b, " \n\t\r")
	}
	said := bytes.TrimRight(b, " \n\t\r")
	if len(said) > 0 {
		p.emit(Arguments, p.calls-1, p.space, 0)
		p.emit(Arguments, p.calls-1, said, 0)
		p.space, p.bare = p.space[:0], false
	}
	p.space = append(p.space, b[len(said):]...)
}
