package reply

// params follows arguments that are Tagged, and writes them as JSON.
type params struct {
	next   paramPlace
	form   *Form
	types  map[string]Types // of the tool's parameters
	match  match
	any    bool // there was one
	key    []byte
	kind   Types // of the value under way
	begun  bool  // a byte of the value was taken
	value  []byte
	json   quoting // of a value that may be JSON
	told   int     // bytes of value that are out
	out    []byte
	ready  bool // it is plain that these are arguments
	closed bool // by the form's Close, not by its End
}

// paramPlace is what params is in the middle of.
type paramPlace uint8

const (
	beforeParam paramPlace = iota
	inParamMark
	inParamKey
	inKeyEnd
	beforeValue
	inValueOpen
	inParamValue
)

func (p *params) begin(f *Form, types map[string]Types) {
	*p = params{form: f, types: types, key: p.key[:0], value: p.value[:0], json: p.json, out: append(p.out[:0], '{')}
}

// step takes the next byte. The arguments end with a mark that closes the call.
func (p *params) step(c byte) verdict {
	f := p.form
	switch p.next {
	case beforeParam:
		if space(c) {
			return more
		}
		p.match.begin(&f.param)
		p.next = inParamMark
		return p.step(c)
	case inParamMark:
		which, v := p.match.step(c)
		if v != ends {
			return v
		}
		p.ready = true
		if which > 0 { // the call's Close, or the end of all
			p.out, p.closed = append(p.out, '}'), which == 1
			return ends
		}
		p.key, p.next = p.key[:0], inParamKey
	case inParamKey:
		if !f.keyEnd.begins(c) {
			p.key = append(p.key, c)
			return more
		}
		p.match.begin(&f.keyEnd)
		p.next = inKeyEnd
		return p.step(c)
	case inKeyEnd:
		_, v := p.match.step(c)
		if v != ends {
			return v
		}
		if p.next = beforeValue; len(f.valueOpen.all) == 0 {
			p.valueBegins(p.types[string(p.key)])
		}
	case beforeValue:
		if space(c) {
			return more
		}
		p.match.begin(&f.valueOpen)
		p.next = inValueOpen
		return p.step(c)
	case inValueOpen:
		which, v := p.match.step(c)
		if v != ends {
			return v
		}
		kind := p.types[string(p.key)]
		if len(f.valueOpen.all) > 1 {
			kind = [...]Types{String, 0}[which]
		}
		p.valueBegins(kind)
	case inParamValue:
		p.inValue(c)
	}
	return more
}

// valueBegins writes what stands before the value of the key.
func (p *params) valueBegins(kind Types) {
	if p.any {
		p.out = append(p.out, ", "...)
	}
	p.any, p.kind, p.begun, p.value, p.told, p.next = true, kind, false, p.value[:0], 0, inParamValue
	p.out = append(appendEscaped(append(p.out, '"'), p.key), `": `...)
	if p.json.begin(); kind == String {
		p.json.over = true
		p.out = append(p.out, '"')
	}
}

// inValue takes a byte of a value. Strings are written as they come, but for
// what may be the mark at their end; whatever else, when it is there. Within a
// string of JSON there is no such mark.
func (p *params) inValue(c byte) {
	f := p.form
	if !p.begun {
		p.begun = true
		if c == '\n' && f.lineBefore {
			return
		}
	}
	p.value = append(p.value, c)
	end := f.valueClose
	within := p.json.within()
	p.json.add([]byte{c})
	if n := len(p.value) - len(end); !within && n >= 0 && c == end[len(end)-1] && string(p.value[n:]) == end {
		p.ends(p.value[:n])
		return
	}
	if p.kind == String {
		safe := len(p.value) - p.mayEnd()
		p.out = appendEscaped(p.out, p.value[p.told:max(safe, p.told)])
		p.told = max(safe, p.told)
		if p.told > 1<<12 { // what is out is not looked at again
			p.value = append(p.value[:0], p.value[p.told:]...)
			p.told = 0
		}
	}
}

// skip takes what is plainly more of a string.
func (p *params) skip(b []byte) (n int) {
	if p.next != inParamValue || p.kind != String || !p.begun || p.told < len(p.value) {
		return 0
	}
	for n < len(b) && b[n] != p.form.valueClose[0] && b[n] != '\n' {
		n++
	}
	p.out = appendEscaped(p.out, b[:n])
	p.value, p.told = p.value[:0], 0
	return n
}

// mayEnd is the length of the longest tail of the value that may begin what
// closes it.
func (p *params) mayEnd() int {
	end := p.form.valueClose
	for n := min(len(p.value), len(end)-1); n >= 0; n-- {
		tail := len(p.value) - n
		if string(p.value[tail:]) == end[:n] {
			if p.form.lineAfter && tail > p.told && p.value[tail-1] == '\n' {
				return n + 1
			}
			if n > 0 {
				return n
			}
		}
	}
	return 0
}

// ends takes a whole value.
func (p *params) ends(value []byte) {
	if p.form.lineAfter && len(value) > p.told && value[len(value)-1] == '\n' {
		value = value[:len(value)-1]
	}
	if p.kind == String {
		p.out = append(appendEscaped(p.out, value[p.told:]), '"')
	} else {
		p.out = append(p.out, asJSON(value, p.kind)...)
	}
	p.next = beforeParam
}
