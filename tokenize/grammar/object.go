package grammar

// object matches an object: declared members in their order, then others.
func (c *compiler) object(words []*keywords, _ types) (*expr, error) {
	o := &objects{c: c, words: words, high: -1, memo: map[[2]int]*expr{}}
	if err := o.read(); err != nil {
		return nil, err
	}
	if err := o.readOthers(); err != nil {
		return nil, err
	}
	if err := c.spend(len(o.names)); err != nil {
		return nil, err
	}
	if o.counted() && len(o.names) > maxCounted {
		return nil, errorf(words[0].schema.path, "minProperties and maxProperties are supported for at most %d properties", maxCounted)
	}
	return seq(text("{"), o.from(0, 0)), nil
}

// counted reports whether the number of members matters, beyond there being
// any.
func (o *objects) counted() bool { return o.low > 1 || o.high >= 0 }

// objects makes one object's expression.
type objects struct {
	c     *compiler
	words []*keywords

	names    []string
	values   []*expr // of names
	required map[string]bool
	declares bool // members were declared, by a schema that was given
	// other is a member that is not declared, or never.
	other     *expr
	low, high int // members; high -1: no bound

	memo map[[2]int]*expr // see from
}

// read finds the declared members.
func (o *objects) read() error {
	o.required = map[string]bool{}
	var required []string
	declared := map[string]bool{}
	for _, k := range o.words {
		o.low, o.high = max(o.low, k.minProps), lower(o.high, k.maxProps)
		o.declares = o.declares || !k.schema.isMade && (k.properties != nil && len(k.properties.keys) > 0 || len(k.required) > 0)
		if k.properties != nil {
			for _, name := range k.properties.keys {
				if !declared[name] {
					declared[name] = true
					o.names = append(o.names, name)
				}
			}
		}
		required = append(required, k.required...)
	}
	for _, name := range required {
		o.required[name] = true
		if !declared[name] {
			declared[name] = true
			o.names = append(o.names, name)
		}
	}
	keys, err := o.keys()
	if err != nil {
		return err
	}
	for _, name := range o.names {
		var e *expr
		if err := o.c.spend(16); err != nil {
			return err
		}
		if keys != nil && !keys.matches(quoted(name)) {
			e = never
		} else if e, err = o.value(name); err != nil {
			return err
		}
		o.values = append(o.values, e)
	}
	return nil
}

// value matches the value of a declared member.
func (o *objects) value(name string) (*expr, error) {
	var all []*value
	closed, evaluated := false, false
	for _, k := range o.words {
		known := false
		if k.properties != nil {
			if v := k.properties.get(name); v != nil {
				all, known = append(all, v), true
			}
		}
		if p := k.patternProps; p != nil {
			for i, pattern := range p.keys {
				if err := o.c.spend(len(pattern)); err != nil {
					return nil, err
				}
				e, err := parseRegex(pattern, asJSON, false)
				if err != nil {
					return nil, errorf(p.path, "%v", err)
				}
				s := quoted(name)
				if e.matches(s[1 : len(s)-1]) {
					all, known = append(all, p.items[i]), true
				}
			}
		}
		if !known && k.additional != nil {
			all, known = append(all, k.additional), true
		}
		closed, evaluated = closed || k.noMore, evaluated || known
	}
	if closed && !evaluated {
		return never, nil
	}
	return o.c.schema(all)
}

// stringSchema is what a key is before anything is said of it.
var stringSchema = &value{kind: isObject, keys: []string{"type"}, items: []*value{{kind: isString, text: "string"}}}

// keys matches what propertyNames allows, with quotes; nil: anything.
func (o *objects) keys() (*expr, error) {
	var all []*value
	for _, k := range o.words {
		if k.propertyNames != nil {
			all = append(all, k.propertyNames)
		}
	}
	if len(all) == 0 {
		return nil, nil
	}
	return o.c.schema(append(all, stringSchema))
}

// readOthers finds what members there may be that are not declared.
func (o *objects) readOthers() error {
	var all []*value   // what their values must be
	var pattern *value // the patternProperties
	said, more := false, true
	var few *value // minProperties
	for _, k := range o.words {
		if k.patternProps != nil && len(k.patternProps.keys) > 0 {
			if pattern != nil || len(k.patternProps.keys) > 1 {
				return errorf(k.patternProps.path, "only one pattern for the same object is supported")
			}
			pattern = k.patternProps
		} else if k.additional != nil {
			all, said = append(all, k.additional), true
		}
		more = more && !k.noMore
		if k.minPropsAt != nil && k.minProps > 1 {
			few = k.minPropsAt
		}
	}
	o.other = never
	if pattern == nil && !said && (!more || o.declares) {
		return nil
	}
	key, err := o.otherKey(pattern)
	if err != nil {
		return err
	}
	if pattern != nil {
		all = append(all, pattern.items[0])
	}
	v, err := o.c.schema(all)
	if err != nil {
		return err
	}
	o.other = seq(key, colon, v)
	if few != nil && o.other.op != opNever {
		// A key may be written twice, and would count once.
		return errorf(few.path, "above 1 it is supported only for objects without additional properties")
	}
	return nil
}

// otherKey matches the key of a member that is not declared, with quotes.
func (o *objects) otherKey(pattern *value) (*expr, error) {
	var parts []*expr
	at := o.words[0].schema.path
	if len(o.names) > 0 {
		parts = append(parts, seq(quote, notAny(o.names), quote))
	}
	if pattern != nil {
		at = pattern.path
		e, err := parseRegex(pattern.keys[0], asJSON, false)
		if err != nil {
			return nil, errorf(member(at, pattern.keys[0]), "%v", err)
		}
		parts = append(parts, seq(quote, e, quote))
	}
	keys, err := o.keys()
	if err != nil {
		return nil, err
	}
	if keys != nil {
		parts = append(parts, keys)
	}
	if len(parts) == 0 || len(parts) == 1 && len(o.names) > 0 {
		parts = append(parts, jsonKey)
	}
	e := parts[0]
	for _, p := range parts[1:] {
		var ok bool
		if e, ok = common(e, p); !ok {
			return nil, errorf(at, "the names of its properties are too much to tell others from")
		}
	}
	return e, nil
}

// notAny matches any bytes but these names, in the spelling of asJSON.
func notAny(names []string) *expr {
	t := &table{states: []tableState{{accepts: true}}}
	all := func(to int32) []edge { return []edge{{0, 255, to}} }
	children := []map[byte]int32{{}}
	for _, name := range names {
		at := int32(0)
		s := quoted(name)
		for _, b := range []byte(s[1 : len(s)-1]) {
			to, ok := children[at][b]
			if !ok {
				to = int32(len(t.states))
				t.states = append(t.states, tableState{accepts: true})
				children = append(children, map[byte]int32{})
				children[at][b] = to
			}
			at = to
		}
		t.states[at].accepts = false
	}
	free := int32(len(t.states)) // no name goes on like this
	for i := range t.states {
		from := 0
		for b := range 256 {
			if to, ok := children[i][byte(b)]; ok {
				if from < b {
					t.states[i].edges = append(t.states[i].edges, edge{byte(from), byte(b - 1), free})
				}
				t.states[i].edges = append(t.states[i].edges, edge{byte(b), byte(b), to})
				from = b + 1
			}
		}
		if from < 256 {
			t.states[i].edges = append(t.states[i].edges, edge{byte(from), 255, free})
		}
	}
	t.states = append(t.states, tableState{accepts: true, edges: all(free)})
	return t.expr()
}

// from matches what follows once the first i declared members were written or
// left out, n of them written, up to the closing brace.
func (o *objects) from(i, n int) *expr {
	if !o.counted() {
		n = min(n, 1)
	}
	key := [2]int{i, n}
	if e := o.memo[key]; e != nil {
		return e
	}
	end := seq(gap, text("}"))
	before := comma
	if n == 0 {
		before, end = gap, text("}")
	}
	full := o.high >= 0 && n >= o.high
	var parts []*expr
	switch {
	case i < len(o.names):
		if !full {
			parts = append(parts, seq(before, text(quoted(o.names[i])), colon, o.values[i], o.from(i+1, n+1)))
		}
		if !o.required[o.names[i]] {
			parts = append(parts, o.from(i+1, n))
		}
	default:
		if n >= o.low {
			parts = append(parts, end)
		}
		if !full {
			left := -1
			if o.high >= 0 {
				left = o.high - n - 1
			}
			parts = append(parts, seq(before, o.other, repeat(seq(comma, o.other), max(o.low-n-1, 0), left), gap, text("}")))
		}
	}
	e := alt(parts...)
	o.memo[key] = e
	return e
}
