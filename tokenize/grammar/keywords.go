package grammar

import (
	"math/big"
)

// types is a set of JSON types.
type types uint8

const (
	typeObject types = 1 << iota
	typeArray
	typeString
	typeInteger
	typeFraction // a number that is no integer, or need not be
	typeBoolean
	typeNull

	typeNumber = typeInteger | typeFraction
	typeAny    = typeObject | typeArray | typeString | typeNumber | typeBoolean | typeNull
)

var typeNames = map[string]types{
	"object": typeObject, "array": typeArray, "string": typeString, "number": typeNumber,
	"integer": typeInteger, "boolean": typeBoolean, "null": typeNull,
}

// keywords is what one schema object says itself, not what it refers to.
type keywords struct {
	schema *value
	types  types // typeAny when not said
	about  types // those that other keywords are about

	values   []*value // enum or const; nil: not said
	listed   bool     // values is meant
	inValues map[string]bool

	ref   *value   // the $ref keyword
	allOf []*value // schemas
	anyOf [][]*value
	oneOf [][]*value

	not, when, then, otherwise *value // not, if, then, else

	numbers        numbers
	minLen, maxLen int // -1: not said; so below
	patterns       []*value
	formats        []*value

	prefix                   []*value
	items                    *value // nil: not said
	listedItems              bool   // items was a list of schemas, which prefix then is
	moreItems                *value // additionalItems, which are about those after a list
	minItems, maxItems       int
	contains                 *value
	minContains, maxContains int
	unique                   *value // uniqueItems, when it is true

	properties         *value // nil: not said
	required           []string
	additional         *value // nil: not said
	patternProps       *value
	propertyNames      *value
	minProps, maxProps int
	dependencies       []dependency

	noMore, noMoreItems bool // unevaluatedProperties, unevaluatedItems are false
	unevaluated         bool // additional says less than unevaluatedProperties did

	// Of schemas that were made up, see negate.go.
	except      []*value // the value is none of these
	notPatterns []*value // none of these is found in a string
	notFormats  []*value // a string has none of these
	breaks      *broken  // an object or array is not as that says

	choices    [][]*value // see compiler.choices
	hasChoices bool
}

// newKeywords says nothing.
func newKeywords(schema *value) *keywords {
	return &keywords{
		schema: schema, types: typeAny, minLen: -1, maxLen: -1, minItems: -1, maxItems: -1, minContains: -1, maxContains: -1, minProps: -1, maxProps: -1,
	}
}

// refused are the keywords of JSON Schema, in all its versions, and of
// OpenAPI that say what is valid and cannot be kept to. Keywords that are not
// known say nothing, as JSON Schema has it.
var refused = map[string]bool{
	"$dynamicRef": true, "$recursiveRef": true, "extends": true, "disallow": true, "divisibleBy": true,
}

// known are the keywords that read understands; a schema without any of them
// and of those refused allows everything.
var known = map[string]bool{
	"type": true, "enum": true, "const": true, "$ref": true, "allOf": true, "anyOf": true, "oneOf": true,
	"minimum": true, "maximum": true, "exclusiveMinimum": true, "exclusiveMaximum": true, "multipleOf": true,
	"minLength": true, "maxLength": true, "pattern": true, "format": true,
	"prefixItems": true, "items": true, "additionalItems": true, "minItems": true, "maxItems": true, "unevaluatedItems": true, "uniqueItems": true,
	"contains": true, "minContains": true, "maxContains": true,
	"properties": true, "required": true, "additionalProperties": true, "patternProperties": true, "propertyNames": true,
	"minProperties": true, "maxProperties": true, "unevaluatedProperties": true,
	"dependentRequired": true, "dependentSchemas": true, "dependencies": true,
	"not": true, "if": true, "then": true, "else": true,
}

// readKeywords reads a schema object.
func readKeywords(v *value) (*keywords, error) {
	k := newKeywords(v)
	for i, name := range v.keys {
		if err := k.read(name, v.items[i]); err != nil {
			return nil, err
		}
	}
	k.excludeBounds()
	if k.listedItems && k.moreItems != nil {
		k.items = k.moreItems
	}
	// Without other schemas to evaluate anything, what is not evaluated is
	// what is additional.
	k.unevaluated = k.noMore && len(k.dependencies) > 0
	if !k.refers() {
		no := &value{kind: isBool, text: "false"}
		if k.noMore && k.additional == nil {
			k.additional = no
		}
		if k.noMoreItems && k.items == nil {
			k.items = no
		}
		k.noMore, k.noMoreItems = false, false
	}
	return k, nil
}

// refers reports whether other schemas are about the same value.
func (k *keywords) refers() bool {
	return k.not != nil || k.when != nil || k.ref != nil || k.allOf != nil || k.anyOf != nil || k.oneOf != nil
}

func (k *keywords) read(name string, v *value) (err error) {
	switch name {
	case "type":
		return k.readTypes(v)
	case "enum":
		if err := want(v, isArray); err != nil {
			return err
		}
		return k.list(v.items)
	case "const":
		return k.list([]*value{v})
	case "$ref":
		k.ref, err = v, want(v, isString)
	case "allOf":
		k.allOf, err = schemas(v)
	case "anyOf", "oneOf":
		of, err := schemas(v)
		if name == "anyOf" {
			k.anyOf = append(k.anyOf, of)
		} else {
			k.oneOf = append(k.oneOf, of)
		}
		return err
	case "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf":
		k.about |= typeNumber
		return k.readNumber(name, v)
	case "minLength", "maxLength", "pattern", "format":
		return k.readString(name, v)
	case "prefixItems", "items", "additionalItems", "minItems", "maxItems", "unevaluatedItems", "uniqueItems", "contains", "minContains", "maxContains":
		k.about |= typeArray
		return k.readArray(name, v)
	case "properties", "required", "additionalProperties", "patternProperties", "propertyNames",
		"minProperties", "maxProperties", "unevaluatedProperties":
		k.about |= typeObject
		return k.readObject(name, v)
	case "not":
		k.not, err = v, wantSchema(v)
	case "if":
		k.when, err = v, wantSchema(v)
	case "then":
		k.then, err = v, wantSchema(v)
	case "else":
		k.otherwise, err = v, wantSchema(v)
	case "dependentRequired", "dependentSchemas", "dependencies":
		k.about |= typeObject
		return k.readDependencies(name, v)
	default:
		if refused[name] {
			return errorf(v.path, "the keyword %q is not supported", name)
		}
	}
	return err
}

// list takes the values of enum and const; with both, those in both.
func (k *keywords) list(values []*value) error {
	for _, v := range values {
		if err := v.writable(); err != nil {
			return err
		}
	}
	if k.listed {
		values = shared(k.values, values)
	}
	k.values, k.listed = values, true
	return nil
}

func (k *keywords) readTypes(v *value) error {
	names := []*value{v}
	if v.kind == isArray {
		names = v.items
	}
	k.types = 0
	for _, n := range names {
		t, ok := typeNames[n.text]
		if n.kind != isString || !ok {
			return errorf(n.path, "expected object, array, string, number, integer, boolean or null, got %s", n.literal())
		}
		k.types |= t
	}
	return nil
}

func (k *keywords) readNumber(name string, v *value) error {
	n := &k.numbers
	if v.kind == isBool && (name == "exclusiveMinimum" || name == "exclusiveMaximum") {
		return nil // an older JSON Schema's: see excludeBounds
	}
	if err := want(v, isNumber); err != nil {
		return err
	}
	x, err := v.decimal()
	if err != nil {
		return errorf(v.path, "%v", err)
	}
	switch name {
	case "minimum":
		n.low = tighter(n.low, &bound{at: x}, 1)
	case "exclusiveMinimum":
		n.low = tighter(n.low, &bound{at: x, strict: true}, 1)
	case "maximum":
		n.high = tighter(n.high, &bound{at: x}, -1)
	case "exclusiveMaximum":
		n.high = tighter(n.high, &bound{at: x, strict: true}, -1)
	case "multipleOf":
		if x.Sign() <= 0 {
			return errorf(v.path, "must be above 0, got %s", v.text)
		}
		n.multiples = append(n.multiples, x)
	}
	return nil
}

// excludeBounds takes JSON Schema's fourth draft, and OpenAPI 3.0, at their word, in
// which true says that the bound beside it is no value itself.
func (k *keywords) excludeBounds() {
	excluded := func(bounds, excludes string) *bound {
		at, by := k.schema.get(bounds), k.schema.get(excludes)
		if at == nil || by == nil || by.kind != isBool || by.text != "true" {
			return nil
		}
		x, _ := at.decimal() // it was read before
		return &bound{at: x, strict: true}
	}
	n := &k.numbers
	if b := excluded("minimum", "exclusiveMinimum"); b != nil {
		n.low = tighter(n.low, b, 1)
	}
	if b := excluded("maximum", "exclusiveMaximum"); b != nil {
		n.high = tighter(n.high, b, -1)
	}
}

// integerFormats are formats of numbers, which bound them.
var integerFormats = map[string]int{"int32": 31, "int64": 63}

func (k *keywords) readString(name string, v *value) (err error) {
	switch name {
	case "minLength":
		k.minLen, err = count(v)
	case "maxLength":
		k.maxLen, err = count(v)
	case "pattern":
		k.patterns, err = []*value{v}, want(v, isString)
	case "format":
		if err := want(v, isString); err != nil {
			return err
		}
		if bits, ok := integerFormats[v.text]; ok {
			limit := new(big.Int).Lsh(big.NewInt(1), uint(bits))
			k.numbers.low = tighter(k.numbers.low, &bound{at: new(big.Rat).SetInt(new(big.Int).Neg(limit))}, 1)
			k.numbers.high = tighter(k.numbers.high, &bound{at: new(big.Rat).SetInt(limit), strict: true}, -1)
			k.about |= typeNumber
			return nil
		}
		if v.text == "float" || v.text == "double" {
			return nil // every number that is written fits
		}
		if formats[v.text] == nil {
			return nil // not known: it says nothing, as JSON Schema has it
		}
		k.formats = []*value{v}
	}
	k.about |= typeString
	return err
}

func (k *keywords) readArray(name string, v *value) (err error) {
	switch name {
	case "prefixItems":
		k.prefix, err = schemas(v)
	case "items":
		if v.kind == isArray { // an older JSON Schema's prefixItems
			k.listedItems = true
			k.prefix, err = schemas(v)
			return err
		}
		k.items, err = v, wantSchema(v)
	case "additionalItems":
		k.moreItems, err = v, wantSchema(v)
	case "minItems":
		k.minItems, err = count(v)
	case "maxItems":
		k.maxItems, err = count(v)
	case "unevaluatedItems":
		k.noMoreItems, err = isFalse(v)
	case "uniqueItems":
		if err = want(v, isBool); v.text == "true" {
			k.unique = v
		}
	case "contains":
		k.contains, err = v, wantSchema(v)
	case "minContains":
		k.minContains, err = count(v)
	case "maxContains":
		k.maxContains, err = count(v)
	}
	return err
}

func (k *keywords) readObject(name string, v *value) (err error) {
	switch name {
	case "properties":
		if err := want(v, isObject); err != nil {
			return err
		}
		k.properties = v
		for _, p := range v.items {
			if err := wantSchema(p); err != nil {
				return err
			}
		}
	case "required":
		if err := want(v, isArray); err != nil {
			return err
		}
		for _, r := range v.items {
			if err := want(r, isString); err != nil {
				return err
			}
			k.required = append(k.required, r.text)
		}
	case "additionalProperties":
		k.additional, err = v, wantSchema(v)
	case "patternProperties":
		k.patternProps, err = v, want(v, isObject)
	case "propertyNames":
		k.propertyNames, err = v, wantSchema(v)
	case "minProperties":
		k.minProps, err = count(v)
	case "maxProperties":
		k.maxProps, err = count(v)
	case "unevaluatedProperties":
		k.noMore, err = isFalse(v)
	}
	return err
}

// contained is how many items contains asks for; high -1: no bound.
func (k *keywords) contained() (low, high int) {
	if k.minContains < 0 {
		return 1, k.maxContains
	}
	return k.minContains, k.maxContains
}

// dependency is what else an object with a member has to be.
type dependency struct {
	path, name string
	required   []string
	schemas    []*value
}

func (k *keywords) readDependencies(keyword string, v *value) error {
	if err := want(v, isObject); err != nil {
		return err
	}
	for i, name := range v.keys {
		this := v.items[i]
		d := dependency{path: this.path, name: name}
		if keyword == "dependentRequired" || keyword == "dependencies" && this.kind == isArray {
			if err := want(this, isArray); err != nil {
				return err
			}
			for _, n := range this.items {
				if err := want(n, isString); err != nil {
					return err
				}
				d.required = append(d.required, n.text)
			}
		} else if err := wantSchema(this); err != nil {
			return err
		} else {
			d.schemas = []*value{this}
		}
		k.dependencies = append(k.dependencies, d)
	}
	return nil
}
