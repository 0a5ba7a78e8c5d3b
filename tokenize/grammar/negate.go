package grammar

import "strconv"

// exceptKeyword is a keyword of schemas that were made up: the value is none
// of these.
const exceptKeyword = "\x00except"

// made is a schema that stands for what v says in another way, or a value in
// one: an object of these members, keys and values in turn.
func (v *value) made(members ...any) *value {
	o := &value{path: v.path, kind: isObject, isMade: true}
	for i := 0; i < len(members); i += 2 {
		o.keys = append(o.keys, members[i].(string))
		o.items = append(o.items, members[i+1].(*value))
	}
	return o
}

func (v *value) madeList(items ...*value) *value {
	return &value{path: v.path, kind: isArray, items: items}
}

func (v *value) madeText(kind jsonKind, text string) *value {
	return &value{path: v.path, kind: kind, text: text}
}

func (v *value) madeType(name string) *value { return v.madeText(isString, name) }

// negation is a list of schemas of which one at least is valid exactly where v
// is not. It reports false for what cannot be said so. A schema says several
// things, and is not valid where one of them does not hold.
func (c *compiler) negation(v *value, depth int) (all []*value, ok bool) {
	if v.kind == isBool {
		if v.text == "false" {
			all = append(all, v.made())
		}
		return all, true
	}
	if depth == 0 || c.spend(len(v.keys)) != nil {
		return nil, false
	}
	for i, name := range v.keys {
		some, ok := c.negationOf(name, v.items[i], depth-1)
		if !ok {
			return nil, false
		}
		all = append(all, some...)
	}
	return all, true
}

// negationOf is that of one keyword.
func (c *compiler) negationOf(name string, v *value, depth int) (all []*value, ok bool) {
	numeric := map[string]string{
		"minimum": "exclusiveMaximum", "maximum": "exclusiveMinimum", "exclusiveMinimum": "maximum", "exclusiveMaximum": "minimum",
	}
	switch name {
	case "const":
		return []*value{v.made(exceptKeyword, v.madeList(v))}, true
	case "enum":
		return []*value{v.made(exceptKeyword, v)}, v.kind == isArray
	case "type":
		return otherTypes(v)
	case "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum":
		return []*value{v.made("type", v.madeType("number"), numeric[name], v)}, true
	case "minLength":
		return v.count("string", "maxLength", -1)
	case "maxLength":
		return v.count("string", "minLength", 1)
	case "minItems":
		return v.count("array", "maxItems", -1)
	case "maxItems":
		return v.count("array", "minItems", 1)
	case "required":
		for _, n := range v.items {
			all = append(all, v.made("type", v.madeType("object"), "properties", v.made(n.text, v.madeText(isBool, "false"))))
		}
		return all, v.kind == isArray
	case "properties":
		for i, p := range v.items {
			some, ok := c.negation(p, depth)
			if !ok {
				return nil, false
			}
			for _, n := range some {
				key := v.madeText(isString, v.keys[i])
				all = append(all, v.made("type", v.madeType("object"), "required", v.madeList(key), "properties", v.made(key.text, n)))
			}
		}
		return all, v.kind == isObject
	case "anyOf":
		var each []*value
		for _, s := range v.items {
			some, ok := c.negation(s, depth)
			if !ok {
				return nil, false
			}
			each = append(each, v.anyOf(some))
		}
		return []*value{v.made("allOf", v.madeList(each...))}, v.kind == isArray && len(each) > 0
	case "allOf":
		for _, s := range v.items {
			some, ok := c.negation(s, depth)
			if !ok {
				return nil, false
			}
			all = append(all, some...)
		}
		return all, v.kind == isArray
	case "not":
		return []*value{v}, wantSchema(v) == nil
	case "$ref":
		to, err := c.resolve(v)
		if err != nil {
			return nil, false
		}
		return c.negation(to, depth)
	}
	return nil, !known[name] && !refused[name]
}

// anyOf is a schema that is valid where one of these is.
func (v *value) anyOf(of []*value) *value {
	if len(of) == 0 {
		return v.madeText(isBool, "false")
	}
	return v.made("anyOf", v.madeList(of...))
}

// count is a schema for a length one beyond v, or one short of it.
func (v *value) count(kind, keyword string, by int) (all []*value, ok bool) {
	n, err := count(v)
	if n += by; n < 0 {
		return nil, err == nil
	}
	return []*value{v.made("type", v.madeType(kind), keyword, v.madeText(isNumber, strconv.Itoa(n)))}, err == nil
}

// otherTypes is a schema for the types that a type keyword does not name.
func otherTypes(v *value) (all []*value, ok bool) {
	k := keywords{}
	if err := k.readTypes(v); err != nil || k.types&typeNumber == typeInteger {
		return nil, false // no name has the numbers that are no integers
	}
	list := v.madeList()
	for _, name := range []string{"object", "array", "string", "number", "boolean", "null"} {
		if typeNames[name]&k.types == 0 {
			list.items = append(list.items, v.madeType(name))
		}
	}
	if len(list.items) > 0 {
		all = append(all, v.made("type", list))
	}
	return all, true
}

// negationDepth bounds how deep a negation looks into a schema.
const negationDepth = 8

// refine makes choices of k's not, if and oneOf.
func (c *compiler) refine(k *keywords) error {
	if k.not != nil {
		if err := wantSchema(k.not); err != nil {
			return err
		}
		of, ok := c.negation(k.not, negationDepth)
		if !ok {
			return errorf(k.not.path, "what it says is too much to be the opposite of; type, const, enum, required, properties, bounds and lengths are supported there")
		}
		k.anyOf = append(k.anyOf, []*value{k.not.anyOf(of)})
	}
	if k.when != nil && (k.then != nil || k.otherwise != nil) {
		if err := wantSchema(k.when); err != nil {
			return err
		}
		of, ok := c.negation(k.when, negationDepth)
		if !ok {
			return errorf(k.when.path, "what it says is too much to be the opposite of; type, const, enum, required, properties, bounds and lengths are supported there")
		}
		both := func(a, b *value) *value {
			if b == nil {
				return a
			}
			return k.when.made("allOf", k.when.madeList(a, b))
		}
		k.anyOf = append(k.anyOf, []*value{both(k.when, k.then), both(k.when.anyOf(of), k.otherwise)})
	}
	for i, of := range k.oneOf {
		exact, err := c.exactlyOne(of)
		if err != nil {
			return err
		}
		k.oneOf[i] = exact
	}
	return nil
}
