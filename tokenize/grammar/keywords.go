package grammar

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

func (k *keywords) read(name string, v *value) error {
	word, says := keywordTable[name]
	switch {
	case !says:
		return nil
	case word.read == nil:
		return errorf(v.path, "the keyword %q is not supported", name)
	}
	k.about |= word.about
	return word.read(k, v)
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
