package grammar

import "math/big"

// keyword is what a schema's keyword says.
type keyword struct {
	about types // of what values, where it is of some only
	read  reader
}

// reader takes the value of a keyword into what its schema says. There is none for
// what says what is valid and cannot be kept to.
type reader func(*keywords, *value) error

// keywordTable are the keywords that say what is valid, in all versions of JSON Schema
// and in OpenAPI. A schema with none of them allows everything: what is not known says
// nothing, as JSON Schema has it.
var keywordTable = map[string]keyword{
	"type":  {0, (*keywords).readTypes},
	"enum":  {0, readEnum},
	"const": {0, func(k *keywords, v *value) error { return k.list([]*value{v}) }},

	"$ref":  {0, into(func(k *keywords) **value { return &k.ref }, valueOf(isString))},
	"allOf": {0, into(func(k *keywords) *[]*value { return &k.allOf }, schemas)},
	"anyOf": {0, more(func(k *keywords) *[][]*value { return &k.anyOf }, schemas)},
	"oneOf": {0, more(func(k *keywords) *[][]*value { return &k.oneOf }, schemas)},
	"not":   {0, into(func(k *keywords) **value { return &k.not }, schema)},
	"if":    {0, into(func(k *keywords) **value { return &k.when }, schema)},
	"then":  {0, into(func(k *keywords) **value { return &k.then }, schema)},
	"else":  {0, into(func(k *keywords) **value { return &k.otherwise }, schema)},

	"minimum":          {typeNumber, limit(func(n *numbers) **bound { return &n.low }, 1, false)},
	"exclusiveMinimum": {typeNumber, limit(func(n *numbers) **bound { return &n.low }, 1, true)},
	"maximum":          {typeNumber, limit(func(n *numbers) **bound { return &n.high }, -1, false)},
	"exclusiveMaximum": {typeNumber, limit(func(n *numbers) **bound { return &n.high }, -1, true)},
	"multipleOf":       {typeNumber, more(func(k *keywords) *[]*big.Rat { return &k.numbers.multiples }, aboveZero)},

	"minLength": {typeString, into(func(k *keywords) *int { return &k.minLen }, count)},
	"maxLength": {typeString, into(func(k *keywords) *int { return &k.maxLen }, count)},
	"pattern":   {typeString, readPattern},
	"format":    {0, readFormat},

	"prefixItems":      {typeArray, into(func(k *keywords) *[]*value { return &k.prefix }, schemas)},
	"items":            {typeArray, readItems},
	"additionalItems":  {typeArray, into(func(k *keywords) **value { return &k.moreItems }, schema)},
	"unevaluatedItems": {typeArray, into(func(k *keywords) *bool { return &k.noMoreItems }, isFalse)},
	"minItems":         {typeArray, into(func(k *keywords) *int { return &k.minItems }, count)},
	"maxItems":         {typeArray, into(func(k *keywords) *int { return &k.maxItems }, count)},
	"uniqueItems":      {typeArray, readUnique},
	"contains":         {typeArray, into(func(k *keywords) **value { return &k.contains }, schema)},
	"minContains":      {typeArray, into(func(k *keywords) *int { return &k.minContains }, count)},
	"maxContains":      {typeArray, into(func(k *keywords) *int { return &k.maxContains }, count)},

	"properties":            {typeObject, readProperties},
	"required":              {typeObject, readRequired},
	"additionalProperties":  {typeObject, into(func(k *keywords) **value { return &k.additional }, schema)},
	"patternProperties":     {typeObject, into(func(k *keywords) **value { return &k.patternProps }, valueOf(isObject))},
	"propertyNames":         {typeObject, into(func(k *keywords) **value { return &k.propertyNames }, schema)},
	"unevaluatedProperties": {typeObject, into(func(k *keywords) *bool { return &k.noMore }, isFalse)},
	"minProperties":         {typeObject, into(func(k *keywords) *int { return &k.minProps }, count)},
	"maxProperties":         {typeObject, into(func(k *keywords) *int { return &k.maxProps }, count)},
	"dependentRequired":     {typeObject, dependent(func(*value) bool { return true })},
	"dependentSchemas":      {typeObject, dependent(func(*value) bool { return false })},
	"dependencies":          {typeObject, dependent(isList)},

	"$dynamicRef": {}, "$recursiveRef": {}, "extends": {}, "disallow": {}, "divisibleBy": {},
}

// into reads a value into a place of what the schema says.
func into[T any](place func(*keywords) *T, parse func(*value) (T, error)) reader {
	return func(k *keywords, v *value) (err error) {
		*place(k), err = parse(v)
		return err
	}
}

// more reads a value after others that were said.
func more[T any](place func(*keywords) *[]T, parse func(*value) (T, error)) reader {
	return func(k *keywords, v *value) error {
		x, err := parse(v)
		*place(k) = append(*place(k), x)
		return err
	}
}

// schema reads a schema, and valueOf what is of a kind.
func schema(v *value) (*value, error) { return v, wantSchema(v) }

func valueOf(kind jsonKind) func(*value) (*value, error) {
	return func(v *value) (*value, error) { return v, want(v, kind) }
}

func readEnum(k *keywords, v *value) error {
	if err := want(v, isArray); err != nil {
		return err
	}
	return k.list(v.items)
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

// limit reads a bound of numbers, which are above it (sign 1) or below (-1).
func limit(place func(*numbers) **bound, sign int, strict bool) reader {
	return func(k *keywords, v *value) error {
		if v.kind == isBool && strict {
			return nil // an older JSON Schema's: see excludeBounds
		}
		x, err := rational(v)
		if err != nil {
			return err
		}
		at := place(&k.numbers)
		*at = tighter(*at, &bound{at: x, strict: strict}, sign)
		return nil
	}
}

func rational(v *value) (*big.Rat, error) {
	if err := want(v, isNumber); err != nil {
		return nil, err
	}
	x, err := v.decimal()
	if err != nil {
		return nil, errorf(v.path, "%v", err)
	}
	return x, nil
}

func aboveZero(v *value) (*big.Rat, error) {
	x, err := rational(v)
	if err == nil && x.Sign() <= 0 {
		return nil, errorf(v.path, "must be above 0, got %s", v.text)
	}
	return x, err
}

func readPattern(k *keywords, v *value) error {
	k.patterns = []*value{v}
	return want(v, isString)
}

// integerFormats are formats of numbers, which bound them.
var integerFormats = map[string]int{"int32": 31, "int64": 63}

// readFormat reads a format, whose name tells of what type it is. One that is not known
// says nothing, as JSON Schema has it, and float and double are all numbers that are written.
func readFormat(k *keywords, v *value) error {
	if err := want(v, isString); err != nil {
		return err
	}
	if bits, ok := integerFormats[v.text]; ok {
		limit := new(big.Int).Lsh(big.NewInt(1), uint(bits))
		k.numbers.low = tighter(k.numbers.low, &bound{at: new(big.Rat).SetInt(new(big.Int).Neg(limit))}, 1)
		k.numbers.high = tighter(k.numbers.high, &bound{at: new(big.Rat).SetInt(limit), strict: true}, -1)
		k.about |= typeNumber
	} else if formats[v.text] != nil {
		k.formats = []*value{v}
		k.about |= typeString
	}
	return nil
}

func readItems(k *keywords, v *value) (err error) {
	if v.kind == isArray { // an older JSON Schema's prefixItems
		k.listedItems = true
		k.prefix, err = schemas(v)
		return err
	}
	k.items = v
	return wantSchema(v)
}

func readUnique(k *keywords, v *value) error {
	if v.text == "true" {
		k.unique = v
	}
	return want(v, isBool)
}

func readProperties(k *keywords, v *value) error {
	if err := want(v, isObject); err != nil {
		return err
	}
	k.properties = v
	for _, p := range v.items {
		if err := wantSchema(p); err != nil {
			return err
		}
	}
	return nil
}

func readRequired(k *keywords, v *value) error {
	more, err := names(v)
	k.required = append(k.required, more...)
	return err
}

// names reads a list of members' names.
func names(v *value) (list []string, err error) {
	if err := want(v, isArray); err != nil {
		return nil, err
	}
	for _, n := range v.items {
		if err := want(n, isString); err != nil {
			return nil, err
		}
		list = append(list, n.text)
	}
	return list, nil
}

// dependent reads what else an object with a member has to be: listed reports whether that
// is a list of the names of other members, not a schema.
func dependent(listed func(*value) bool) reader {
	return func(k *keywords, v *value) error {
		if err := want(v, isObject); err != nil {
			return err
		}
		for i, name := range v.keys {
			this := v.items[i]
			d := dependency{path: this.path, name: name}
			var err error
			if listed(this) {
				d.required, err = names(this)
			} else {
				d.schemas, err = []*value{this}, wantSchema(this)
			}
			if err != nil {
				return err
			}
			k.dependencies = append(k.dependencies, d)
		}
		return nil
	}
}

func isList(v *value) bool { return v.kind == isArray }
