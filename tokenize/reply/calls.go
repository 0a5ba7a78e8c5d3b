package reply

import "bytes"

// begin begins what may be calls: behind a mark, or where a reply begins. It
// reports whether there is a form that begins so.
func (p *Parser) begin(mark string, written []byte) bool {
	f := p.opts.Format
	if p.sections == nil {
		p.sections = make([]section, len(f.Forms))
	}
	p.live = p.live[:0]
	for i := range f.Forms {
		if m := &f.Forms[i]; m.Bare && mark == "" || !m.Bare && m.begin == mark {
			p.sections[i].begin(m, p.opts.Tools)
			p.live = append(p.live, &p.sections[i])
		}
	}
	p.raw = append(append(p.raw[:0], p.space...), written...)
	p.marked, p.space, p.state = mark != "", p.space[:0], inCalls
	return len(p.live) > 0
}

// follow takes what may be calls, up to where they end.
func (p *Parser) follow(b []byte, at int) int {
	i := 0
	for i < len(b) && p.state == inCalls {
		if s := p.live[0]; s.told {
			n, e := s.feed(b[i:])
			i += n
			p.more(s, b[i-n:i], e, at+i)
			if e == fails {
				p.fail(at + i)
				return i
			}
			continue
		}
		if !p.may(b[i], at+i) {
			p.fail(at + i)
			return i
		}
		i++
	}
	return i
}

// may takes a byte, at which forms drop out until one has told a call. If none
// is left the byte is not taken.
func (p *Parser) may(c byte, at int) bool {
	live := p.live[:0]
	for _, s := range p.live {
		e := s.step(c)
		if e == fails {
			continue
		}
		live = append(live, s)
		switch {
		case s.told:
			p.live, p.raw = append(p.live[:0], s), p.raw[:0]
			p.emit(Call, p.calls, s.name, at+1)
			p.calls++
			p.more(s, []byte{c}, e, at+1)
			return true
		case e == closes:
			p.toText()
			return true
		}
	}
	if len(live) == 0 {
		return false
	}
	p.live, p.raw = live, append(p.raw, c)
	return true
}

// more tells what b adds to a call, and what its last byte meant.
func (p *Parser) more(s *section, b []byte, e event, end int) {
	from := len(p.out)
	p.out = s.take(p.out, b)
	p.grown(Arguments, p.calls-1, from, end)
	if e == returns || e == shuts {
		p.returned(s)
		if e == shuts && p.state == inCalls {
			p.toText()
		}
	}
}

// returned ends a call.
func (p *Parser) returned(s *section) {
	p.emit(Returned, p.calls-1, nil, 0)
	s.told = false
	p.bare, p.marked = true, true
	if p.opts.One {
		p.state = over
	}
}

// toText goes on with text.
func (p *Parser) toText() { p.state, p.raw = inText, p.raw[:0] }

// fail makes text of what is no call after all. It ends at byte end of the
// reply.
func (p *Parser) fail(end int) {
	if p.live[0].told {
		p.state = inBrokenCall
		return
	}
	raw := p.raw
	if p.bare {
		raw = bytes.TrimLeft(raw, " \n\t\r")
	}
	p.tell(Text, raw, end)
	p.begun = true
	p.toText()
}

// breaks takes what follows in a call that went on as none does, up to a mark
// that ends it.
func (p *Parser) breaks(b []byte, at int) (int, bool) {
	s := p.live[0]
	i, which, found := s.form.stop.find(b)
	p.emit(Arguments, p.calls-1, b[:i], at+i)
	if !found {
		return i, false
	}
	p.state = inCalls
	p.returned(s)
	if p.state == over {
		return len(b), true
	}
	word := s.form.stop.all[which]
	switch which {
	case 0: // of the call alone
		if p.raw = p.raw[:0]; s.follows() {
			p.toText()
		}
	case 1:
		p.toText()
	default: // which begins other calls
		p.toText()
		word = ""
	}
	return i + len(word), true
}
