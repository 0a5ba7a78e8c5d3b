package reply

import (
	"bytes"
	"slices"
	"strings"
)

// attempt is what may be a call.
type attempt struct {
	raw    []byte // all of it, and what stands between it and the text before
	marked bool   // a mark announced it
	told   bool   // its name is out

	object object  // where all of it is one
	name   []byte  // where it stands by itself …
	tag    []byte  // … before one of these …
	args   scanner // … and its arguments
}

// try begins what may be a call, after a mark or, when there is none, at a
// brace.
func (p *Parser) try(mark []byte) {
	c := &p.call
	c.raw = append(append(c.raw[:0], p.space...), mark...)
	c.marked, p.space = mark != nil, p.space[:0]
	if p.opts.Format == Mistral {
		p.state = afterMark
		return
	}
	p.enter()
}

// enter begins a call's object.
func (p *Parser) enter() {
	p.call.told, p.state = false, inCall
	p.call.object.begin()
}

// follow takes the next byte of what may be a call. If it may be one no more,
// the byte is not taken.
func (p *Parser) follow(b byte) bool {
	c := &p.call
	c.raw = append(c.raw, b)
	ok := true
	switch p.state {
	case inCall:
		ok = p.inObject(b)
	case separated: // after one of Llama's calls
		switch {
		case b == '{':
			p.enter()
			ok = p.inObject(b)
		case b == ';':
			ok = bytes.IndexByte(c.raw, ';') == len(c.raw)-1
		default:
			ok = space(b)
		}
	case afterMark: // of Mistral's calls
		switch {
		case b == '[':
			p.state = beforeElement
		case inToolName(b):
			c.name, c.told, p.state = append(c.name[:0], b), false, inName
		default:
			ok = space(b)
		}
	case beforeElement:
		if b == '{' {
			p.enter()
			ok = p.inObject(b)
		} else {
			ok = space(b)
		}
	case afterElement:
		switch {
		case b == ',':
			p.state = beforeElement
		case b == ']':
			p.state, c.raw = talking, c.raw[:0]
		default:
			ok = space(b)
		}
	default:
		ok = p.inNamed(b)
	}
	if !ok {
		c.raw = c.raw[:len(c.raw)-1]
	}
	return ok
}

// inToolName reports whether a name may hold b: those OpenAI allows, and dots.
func inToolName(b byte) bool {
	return digit(b) || b|0x20 >= 'a' && b|0x20 <= 'z' || b == '_' || b == '-' || b == '.'
}

// inNamed takes a byte of name[ARGS]{…}, of name[CALL_ID]id[ARGS]{…}, or of
// name{…}, which earlier tokenizers made of it.
func (p *Parser) inNamed(b byte) bool {
	c := &p.call
	switch p.state {
	case inName, inID:
		switch {
		case b == '[':
			c.tag, p.state = append(c.tag[:0], b), inTag
			return true
		case inToolName(b):
			if p.state == inName {
				c.name = append(c.name, b)
			}
			return true
		case p.state == inID:
			return false
		}
		c.args.begin()
		p.state = inArgs
		return b == '{' && p.inArguments(b)
	case inTag:
		c.tag = append(c.tag, b)
		switch tag := string(c.tag); {
		case tag == mistralArgs:
			c.args.begin()
			p.state = inArgs
		case tag == mistralID:
			p.state = inID
		default:
			return strings.HasPrefix(mistralArgs, tag) || strings.HasPrefix(mistralID, tag)
		}
		return true
	}
	return p.inArguments(b)
}

// inObject takes a byte of a call's object.
func (p *Parser) inObject(b byte) bool {
	c := &p.call
	o := &c.object
	v := o.step(b)
	if v == bad {
		return false
	}
	if o.known() && !c.told {
		if !c.marked && !slices.Contains(p.opts.Names, o.name) {
			return false
		}
		p.announce(o.name)
	}
	if c.told {
		p.emit(Arguments, p.calls-1, o.args)
		o.args = o.args[:0]
	}
	if v == ends {
		p.returned()
	}
	return true
}

// inArguments takes a byte of arguments that stand by themselves.
func (p *Parser) inArguments(b byte) bool {
	c := &p.call
	if !c.told {
		if space(b) {
			return true
		}
		if b != '{' {
			return false
		}
		p.announce(string(c.name))
	}
	v := c.args.step(b)
	if v == bad {
		return false
	}
	p.emit(Arguments, p.calls-1, []byte{b})
	if v == ends {
		p.returned()
	}
	return true
}

// announce tells a call's name.
func (p *Parser) announce(name string) {
	p.call.told = true
	p.emit(Call, p.calls, []byte(name))
	p.calls++
}

// returned ends a call.
func (p *Parser) returned() {
	c := &p.call
	p.emit(Returned, p.calls-1, nil)
	p.intact++
	array := p.opts.Format == Mistral && p.state == inCall
	c.raw, c.told, p.bare = c.raw[:0], false, true
	switch {
	case p.opts.One:
		p.state = over
	case p.opts.Format == Hermes:
		p.state = afterCall
	case p.opts.Format == Llama3:
		p.state, c.marked = separated, false
	case array:
		p.state = afterElement
	default:
		p.state = talking
	}
}

// shut looks for the mark that closes a call; a model may leave it out.
func (p *Parser) shut(b []byte) (int, bool) {
	i := 0
	for i < len(b) && space(b[i]) {
		i++
	}
	n := min(len(b)-i, len(hermesEnd))
	switch {
	case string(b[i:i+n]) != hermesEnd[:n]:
		p.state = talking
	case n < len(hermesEnd):
		return i, false
	default:
		p.state = talking
		return i + n, true
	}
	return i, true
}

// fail makes text of what is no call after all.
func (p *Parser) fail() {
	c := &p.call
	raw := c.raw
	if p.bare {
		raw = bytes.TrimLeft(raw, " \n\t\r")
	}
	if c.told {
		p.emit(Broken, p.calls-1, raw)
		p.bare = false
	} else {
		p.tell(Text, raw)
	}
	p.state, p.begun, c.told, c.raw = talking, true, false, c.raw[:0]
}
