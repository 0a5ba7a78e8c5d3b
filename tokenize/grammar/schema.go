package grammar

import (
	"fmt"
	"net/url"
	"slices"
	"strings"
)

// parseSchema makes a JSON schema an expression: text in which every value is
// valid by it. Not everything that is valid can be written: members are in the
// schema's order, those declared first; where a schema declares properties, or
// the first items, and says nothing of others, there are no others; a schema
// with keywords about one type and no type means that type.
func parseSchema(source, path string) (*expr, error) {
	root, err := parseJSON(source, path)
	if err != nil {
		return nil, err
	}
	if err := wantSchema(root); err != nil {
		return nil, err
	}
	c := &compiler{
		root: root, words: map[*value]*keywords{}, ids: map[*value]int{},
		made: map[string]*expr{}, strs: map[string]*expr{}, left: maxNodes,
	}
	return c.schema([]*value{root})
}

// compiler turns schemas into expressions. What it turns is always several
// schemas at once, all of which have to be valid: what allOf, $ref and
// keywords beside anyOf make of one.
type compiler struct {
	root  *value
	words map[*value]*keywords // of each schema object read
	ids   map[*value]int
	made  map[string]*expr // of each set of schemas; a reference while it is being made
	strs  map[string]*expr // of each set of patterns, formats and lengths
	left  int              // pieces that may still be made
}

// schema matches a value for which all of these schemas are valid.
func (c *compiler) schema(all []*value) (*expr, error) {
	all, err := c.telling(all)
	if err != nil {
		return nil, err
	}
	if len(all) == 0 {
		return jsonValue, nil
	}
	key := c.key(all)
	if e := c.made[key]; e != nil {
		return e, nil
	}
	if err := c.spend(1); err != nil {
		return nil, err
	}
	ref := reference()
	c.made[key] = ref
	e, err := c.flatten(all)
	if err != nil {
		return nil, err
	}
	ref.to(e)
	c.made[key] = e
	return e, nil
}

// spend accounts for n pieces.
func (c *compiler) spend(n int) error {
	if c.left -= n; c.left < 0 {
		return errorf(c.root.path, "is too large once its parts are put together")
	}
	return nil
}

// telling leaves out schemas that allow everything, and has what they point to
// in place of those that only point: so that the same is made once.
func (c *compiler) telling(all []*value) ([]*value, error) {
	var out []*value
	for _, v := range all {
		seen := map[*value]bool{}
		for v.kind == isObject && !seen[v] {
			seen[v] = true
			var ref *value
			others := 0
			for i, name := range v.keys {
				if name == "$ref" {
					ref = v.items[i]
				} else if known[name] || refused[name] {
					others++
				}
			}
			if ref == nil || others > 0 {
				break
			}
			if err := want(ref, isString); err != nil {
				return nil, err
			}
			to, err := c.resolve(ref)
			if err != nil {
				return nil, err
			}
			v = to
		}
		if v.kind == isObject && len(v.keys) == 0 || v.kind == isBool && v.text == "true" {
			continue
		}
		out = append(out, v)
	}
	return out, nil
}

// key is the same for the same set of schemas.
func (c *compiler) key(all []*value) string {
	ids := make([]int, 0, len(all))
	for _, v := range all {
		if c.ids[v] == 0 {
			c.ids[v] = len(c.ids) + 1
		}
		ids = append(ids, c.ids[v])
	}
	slices.Sort(ids)
	return fmt.Sprint(slices.Compact(ids))
}

func (c *compiler) keywords(v *value) (*keywords, error) {
	if k := c.words[v]; k != nil {
		return k, nil
	}
	k, err := readKeywords(v)
	if err != nil {
		return nil, err
	}
	c.words[v] = k
	return k, c.refine(k)
}

// flat is schemas without those they refer to: what they say themselves, and
// choices still to be made.
type flat struct {
	words   []*keywords
	choices []choice
	never   bool // one of them is false
}

// choice is one anyOf or oneOf: at least one of these is valid too.
type choice struct {
	of []*value
	// within are the schemas it was met in. One of them chosen again would
	// add nothing to what it matches otherwise.
	within []*value
}

// add adds schema v, met within others, and all it refers to.
func (c *compiler) add(f *flat, v *value, within []*value) error {
	if v.kind == isBool {
		f.never = f.never || v.text == "false"
		return nil
	}
	if slices.Contains(within, v) {
		f.never = true
		return nil
	}
	k, err := c.keywords(v)
	if err != nil || slices.Contains(f.words, k) {
		return err
	}
	f.words = append(f.words, k)
	within = append(slices.Clone(within), v)
	for _, of := range slices.Concat(k.anyOf, k.oneOf) {
		f.choices = append(f.choices, choice{of, within})
	}
	parts := k.allOf
	if k.ref != nil {
		to, err := c.resolve(k.ref)
		if err != nil {
			return err
		}
		parts = append(slices.Clone(parts), to)
	}
	for _, part := range parts {
		if err := c.add(f, part, within); err != nil {
			return err
		}
	}
	return nil
}

// resolve finds what a reference points to.
func (c *compiler) resolve(ref *value) (*value, error) {
	pointer, ok := strings.CutPrefix(ref.text, "#")
	if !ok || pointer != "" && pointer[0] != '/' {
		return nil, errorf(ref.path, "only references into the schema itself are supported, such as #/$defs/name; got %q", ref.text)
	}
	at := c.root
	for _, step := range strings.Split(pointer, "/")[1:] {
		name, err := url.PathUnescape(step)
		if err != nil {
			name = step
		}
		name = strings.ReplaceAll(strings.ReplaceAll(name, "~1", "/"), "~0", "~")
		var next *value
		switch at.kind {
		case isObject:
			next = at.get(name)
		case isArray:
			for i, e := range at.items {
				if fmt.Sprint(i) == name {
					next = e
				}
			}
		}
		if next == nil {
			return nil, errorf(ref.path, "%q points to nothing", ref.text)
		}
		at = next
	}
	return at, wantSchema(at)
}

// flatten is the union of all ways to make the choices.
func (c *compiler) flatten(all []*value) (*expr, error) {
	var parts []*expr
	err := c.alternatives(all, func(words []*keywords) error {
		for _, k := range words {
			if (k.noMore || k.noMoreItems) && (len(all) > 1 || k.schema != all[0]) {
				return errorf(k.schema.path, "unevaluatedProperties and unevaluatedItems are not supported within allOf, anyOf, oneOf and $ref")
			}
			if k.schema.isMade && words[0].noMore {
				return errorf(words[0].schema.path, "unevaluatedProperties is not supported beside not, if, oneOf and dependencies")
			}
		}
		e, err := c.build(words)
		if err == nil {
			parts = append(parts, e)
		}
		return err
	})
	return alt(parts...), err
}

// alternatives yields all ways to make the choices of schemas.
func (c *compiler) alternatives(all []*value, yield func([]*keywords) error) error {
	f := &flat{}
	for _, v := range all {
		if err := c.add(f, v, nil); err != nil {
			return err
		}
	}
	ways := 0
	var choose func(f *flat) error
	choose = func(f *flat) error {
		if f.never {
			return nil
		}
		if len(f.choices) == 0 {
			if ways++; ways > maxBranches {
				return errorf(all[0].path, "there are more than %d ways to combine its anyOf and oneOf", maxBranches)
			}
			return yield(f.words)
		}
		first, rest := f.choices[0], f.choices[1:]
		for _, v := range first.of {
			if err := c.spend(len(f.words)); err != nil {
				return err
			}
			g := &flat{words: slices.Clone(f.words), choices: slices.Clone(rest)}
			if err := c.add(g, v, first.within); err != nil {
				return err
			}
			if err := choose(g); err != nil {
				return err
			}
		}
		return nil
	}
	return choose(f)
}

// build matches a value that all of these describe.
func (c *compiler) build(words []*keywords) (*expr, error) {
	t, about := typeAny, types(0)
	var values, except []*value
	listed := false
	for _, k := range words {
		except = append(except, k.except...)
		t &= k.types
		about |= k.about
		if k.listed {
			if listed {
				values = shared(values, k.values)
			} else {
				values, listed = k.values, true
			}
		}
	}
	if listed {
		return c.listed(words, without(values, except), t, about)
	}
	if t == typeAny && about != 0 {
		t = about
	}
	if t == typeAny && len(except) == 0 {
		return jsonValue, nil
	}
	for _, v := range except {
		if v.types()&t&^(typeString|typeBoolean|typeNull) != 0 {
			return nil, errorf(v.path, "%v cannot be kept from, only strings, booleans and null, and what is listed in an enum", v.kind)
		}
	}
	var parts []*expr
	for _, kind := range []struct {
		of   types
		make func([]*keywords, types) (*expr, error)
	}{
		{typeObject, c.object},
		{typeArray, c.array},
		{typeString, c.str},
		{typeNumber, c.number},
		{typeBoolean, literals(except, "true", "false")},
		{typeNull, literals(except, "null")},
	} {
		if t&kind.of == 0 {
			continue
		}
		e, err := kind.make(words, t)
		if err != nil {
			return nil, err
		}
		parts = append(parts, e)
	}
	return alt(parts...), nil
}

// without are the values that are none of the others.
func without(values, others []*value) []*value {
	return slices.DeleteFunc(slices.Clone(values), func(v *value) bool {
		return slices.ContainsFunc(others, v.same)
	})
}

// literals matches these words, but for values that are excepted.
func literals(except []*value, words ...string) func([]*keywords, types) (*expr, error) {
	var parts []*expr
	for _, w := range words {
		if !slices.ContainsFunc(except, func(v *value) bool { return v.literal() == w }) {
			parts = append(parts, text(w))
		}
	}
	e := alt(parts...)
	return func([]*keywords, types) (*expr, error) { return e, nil }
}

// listed matches those of the values that everything else allows.
func (c *compiler) listed(words []*keywords, values []*value, t, about types) (*expr, error) {
	var parts []*expr
	var strs *expr
	for _, v := range values {
		is := v.types()
		if is&t == 0 {
			continue
		}
		fits := true
		switch {
		case is&about == 0:
		case v.kind == isString:
			if strs == nil {
				var err error
				if strs, err = c.str(words, t); err != nil {
					return nil, err
				}
			}
			fits = strs.matches(v.literal())
		case v.kind == isNumber:
			n := merged(words, t)
			x, _ := parseDecimal(v.text)
			fits = n.has(x)
		default:
			return nil, errorf(v.path, "%v cannot be listed beside other keywords about them", v.kind)
		}
		if fits {
			parts = append(parts, text(v.literal()))
		}
	}
	return alt(parts...), nil
}

// types are those that the value has.
func (v *value) types() types {
	switch v.kind {
	case isObject:
		return typeObject
	case isArray:
		return typeArray
	case isString:
		return typeString
	case isBool:
		return typeBoolean
	case isNull:
		return typeNull
	}
	if x, err := parseDecimal(v.text); err == nil && x.IsInt() {
		return typeInteger
	}
	return typeFraction
}

// merged is what all say of numbers.
func merged(words []*keywords, t types) numbers {
	n := numbers{integer: t&typeFraction == 0}
	for _, k := range words {
		n.low = tighter(n.low, k.numbers.low, 1)
		n.high = tighter(n.high, k.numbers.high, -1)
		if k.numbers.multipleOf != nil {
			n.multipleOf = k.numbers.multipleOf
		}
	}
	return n
}

func (c *compiler) number(words []*keywords, t types) (*expr, error) {
	n := merged(words, t)
	for _, k := range words {
		m := k.numbers.multipleOf
		if m != nil && m.Cmp(n.multipleOf) != 0 {
			return nil, errorf(member(k.schema.path, "multipleOf"), "only one multipleOf for the same number is supported")
		}
	}
	e, err := n.expr()
	if err != nil {
		for _, k := range words {
			if k.numbers.multipleOf != nil {
				return nil, errorf(member(k.schema.path, "multipleOf"), "%v", err)
			}
		}
	}
	return e, err
}

// str matches a string. With a pattern or a format, each character has one
// spelling.
func (c *compiler) str(words []*keywords, _ types) (*expr, error) {
	s := strs{c: c, high: -1}
	for _, k := range words {
		s.low, s.high = max(s.low, k.minLen), lower(s.high, k.maxLen)
		s.patterns = append(s.patterns, k.patterns...)
		s.formats = append(s.formats, k.formats...)
		for _, v := range k.except {
			if v.kind == isString {
				s.except = append(s.except, v.text)
			}
		}
	}
	key := s.key()
	if e := c.strs[key]; e != nil {
		return e, nil
	}
	e, err := s.expr()
	if err == nil {
		c.strs[key] = e
	}
	return e, err
}

// strs is what schemas say of one string.
type strs struct {
	c                 *compiler
	low, high         int // characters; high -1: no bound
	patterns, formats []*value
	except            []string
}

func (s *strs) key() string {
	key := fmt.Sprintf("%d %d %q", s.low, s.high, s.except)
	for _, v := range s.patterns {
		key += fmt.Sprintf(" %q", v.text)
	}
	for _, v := range s.formats {
		key += " " + v.text
	}
	return key
}

func (s *strs) expr() (*expr, error) {
	if len(s.patterns)+len(s.formats)+len(s.except) == 0 {
		return seq(quote, repeat(jsonChar, s.low, s.high), quote), nil
	}
	var parts []*expr
	var at string
	low, high := s.low, s.high
	add := func(v *value, source string, whole bool) error {
		if err := s.c.spend(len(source)); err != nil {
			return err
		}
		e, err := parseRegex(source, asJSON, whole)
		if err != nil {
			return errorf(v.path, "%v", err)
		}
		// What is within the lengths anyway need not be counted.
		least, most := e.length()
		if least >= low {
			low = 0
		}
		if most <= high {
			high = -1
		}
		parts, at = append(parts, e), v.path
		return nil
	}
	for _, p := range s.patterns {
		if err := add(p, p.text, false); err != nil {
			return nil, err
		}
	}
	for _, f := range s.formats {
		if err := add(f, formats[f.text], true); err != nil {
			return nil, err
		}
	}
	if low > 0 || high >= 0 || len(parts) == 0 {
		parts = append(parts, repeat(keyChar, low, high))
	}
	if len(s.except) > 0 {
		parts = append(parts, notAny(s.except))
	}
	e := parts[0]
	for _, p := range parts[1:] {
		var ok bool
		if e, ok = common(e, p); !ok {
			return nil, errorf(at, "together with the other patterns, formats and lengths of this string it is too large")
		}
		if err := s.c.spend(4 * len(e.states())); err != nil {
			return nil, err
		}
	}
	return seq(quote, e, quote), nil
}

// lower is the lower of two limits, of which -1 is none.
func lower(a, b int) int {
	if a < 0 || b >= 0 && b < a {
		return b
	}
	return a
}

func (c *compiler) array(words []*keywords, _ types) (*expr, error) {
	low, high, n := 0, -1, 0
	open := true // nothing says that there is no more than the first items
	items := false
	for _, k := range words {
		low, high = max(low, k.minItems), lower(high, k.maxItems)
		n = max(n, len(k.prefix))
		if k.prefix != nil && k.items == nil {
			high = lower(high, len(k.prefix))
		}
		items = items || k.items != nil
		open = open && !k.noMoreItems
	}
	if !open && !items {
		high = lower(high, n)
	}
	at := func(i int) (*expr, error) {
		var all []*value
		for _, k := range words {
			switch {
			case i < len(k.prefix):
				all = append(all, k.prefix[i])
			case k.items != nil:
				all = append(all, k.items)
			}
		}
		return c.schema(all)
	}
	rest, err := at(n)
	if err != nil {
		return nil, err
	}
	if err := c.spend(n); err != nil {
		return nil, err
	}
	if n == 0 {
		return brackets(rest, low, high), nil
	}
	end := seq(gap, text("]"))
	more := -1
	if high >= 0 {
		more = max(high-n, 0)
	}
	e := seq(repeat(seq(comma, rest), max(low-n, 0), more), end)
	for i := n - 1; i >= 0; i-- {
		one, err := at(i)
		if err != nil {
			return nil, err
		}
		before, stop := comma, end
		if i == 0 {
			before, stop = gap, text("]")
		}
		if e = seq(before, one, e); high >= 0 && i >= high {
			e = never
		}
		if i >= low {
			e = alt(stop, e)
		}
	}
	return seq(text("["), e), nil
}
