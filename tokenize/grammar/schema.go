package grammar

import (
	"encoding/binary"
	"fmt"
	"net/url"
	"slices"
	"strings"
)

// parseSchema makes a JSON schema an expression: text in which every value is
// valid by it. Not everything that is valid can be written: members are in the
// schema's order, those first that it speaks of anywhere; where a schema
// declares properties, or the first items, and says nothing of others, there
// are no others, and oneOf keeps to that, too; what is asked of some member that
// is not declared, such as by the opposite of additionalProperties, is done by
// one beside which there is no other that is not declared; where a oneOf, not
// or if has more than maxTold things to tell from, a member tells from one of
// them, or from all that it can; a schema with keywords about one type and no
// type means that type.
func parseSchema(w *budget, source, path string) (*expr, error) {
	w.spend(len(source))
	root, err := parseJSON(source, path)
	if err != nil {
		return nil, err
	}
	if err := wantSchema(root); err != nil {
		return nil, err
	}
	c := &compiler{
		budget: w,
		root:   root, words: map[*value]*keywords{}, ids: map[*value]uint32{}, opposites: map[opposite]*value{}, joint: map[string]*value{}, mayBe: map[string]bool{},
		built: map[string]*expr{}, strs: map[string]*expr{}, patterns: map[string]*expr{}, keyed: map[string]*expr{}, nones: map[string]*expr{}, outside: map[*expr]*expr{}, left: maxNodes,
	}
	return c.schema([]*value{root})
}

// compiler turns schemas into expressions. What it turns is always several
// schemas at once, all of which have to be valid: what allOf, $ref and
// keywords beside anyOf make of one.
type compiler struct {
	budget    *budget
	root      *value
	words     map[*value]*keywords // of each schema object read or made up
	ids       map[*value]uint32
	opposites map[opposite]*value
	joint     map[string]*value // by what they are made of, see all and any
	mayBe     map[string]bool   // see possible
	built     map[string]*expr  // of each set of schemas; a reference while it is being built
	strs      map[string]*expr  // of each set of patterns, formats and lengths
	patterns  map[string]*expr
	keyed     map[string]*expr // see keyPattern
	nones     map[string]*expr // see noneOf
	outside   map[*expr]*expr  // complements; nil: too large
	left      int              // pieces that may still be made
	trying    int              // how deep valid is
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
	if e := c.built[key]; e != nil {
		return e, nil
	}
	if err := c.spend(1); err != nil {
		return nil, err
	}
	ref := reference()
	c.built[key] = ref
	e, err := c.flatten(all)
	if err != nil {
		return nil, err
	}
	ref.to(e)
	c.built[key] = e
	return e, nil
}

// spend accounts for n pieces.
func (c *compiler) spend(n int) error {
	if c.left -= n; c.left < 0 {
		return errorf(c.root.path, "is too large once its parts are put together")
	}
	return c.work(n)
}

// work accounts for n steps.
func (c *compiler) work(n int) error {
	if !c.budget.spend(n) {
		return c.budget.err
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
				} else if _, says := keywordTable[name]; says {
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
		if v.kind == isObject && len(v.keys) == 0 && !v.isMade || v.kind == isBool && v.text == "true" {
			continue
		}
		out = append(out, v)
	}
	return out, nil
}

// key is the same for the same set of schemas.
func (c *compiler) key(all []*value) string {
	c.budget.spend(4 * len(all))
	ids := make([]uint32, 0, 16)
	for _, v := range all {
		if c.ids[v] == 0 {
			c.ids[v] = uint32(len(c.ids)) + 1
		}
		ids = append(ids, c.ids[v])
	}
	slices.Sort(ids)
	key := make([]byte, 0, 64)
	for _, id := range slices.Compact(ids) {
		key = binary.LittleEndian.AppendUint32(key, id)
	}
	return string(key)
}

func (c *compiler) keywords(v *value) (*keywords, error) {
	if k := c.words[v]; k != nil {
		return k, nil
	}
	read := readKeywords
	if v.negates != nil {
		read = c.negation
	}
	k, err := read(v)
	if err != nil {
		return nil, err
	}
	c.words[v] = k
	for _, d := range k.dependencies {
		without, with := newKeywords(nil), newKeywords(nil)
		without.properties = &value{path: d.path, kind: isObject, keys: []string{d.name}, items: []*value{{path: d.path, kind: isBool, text: "false"}}}
		with.required, with.allOf = append([]string{d.name}, d.required...), d.schemas
		k.anyOf = append(k.anyOf, []*value{c.made(v, without), c.made(v, with)})
	}
	return k, nil
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
	if slices.ContainsFunc(f.words, func(w *keywords) bool { return w.schema.negates == v || v.negates == w.schema }) {
		f.never = true
		return nil
	}
	f.words = append(f.words, k)
	within = append(slices.Clone(within), v)
	choices, err := c.choices(k)
	if err != nil {
		return err
	}
	for _, of := range choices {
		f.choices = append(f.choices, choice{of, within})
	}
	parts := k.allOf
	if k.not != nil {
		parts = append(slices.Clone(parts), c.not(k.not, false))
	}
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
	err := c.alternatives(all, looks, func(words []*keywords) error {
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

// alternatives yields all ways to make the choices of schemas, but for those
// that are plainly of no value.
func (c *compiler) alternatives(all []*value, depth int, yield func([]*keywords) error) error {
	f := &flat{}
	for _, v := range all {
		if err := c.add(f, v, nil); err != nil {
			return err
		}
	}
	ways := 0
	var choose func(f *flat) error
	choose = func(f *flat) error {
		if f.never || c.contradict(f.words, depth) {
			return nil
		}
		f.choices = slices.DeleteFunc(f.choices, func(o choice) bool {
			return slices.ContainsFunc(o.of, func(v *value) bool { return slices.Contains(f.words, c.words[v]) })
		})
		if len(f.choices) == 0 {
			if ways++; ways > maxBranches {
				return errorf(all[0].path, "there are more than %d ways to combine its anyOf, oneOf, not and if", maxBranches)
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
