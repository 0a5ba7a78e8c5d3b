package grammar

// How JSON is written. White space is bounded, so that a model which likes it
// cannot go on with it for ever: after '{', '[' and ',' and before '}' and ']'
// one space, or a new line and its indentation; after ':' one space.
var (
	digit    = span('0', '9')
	nonzero  = span('1', '9')
	hex      = oneOf("0123456789abcdefABCDEF")
	gap      = alt(empty, text(" "), seq(text("\n"), alt(repeat(text(" "), 0, 32), repeat(text("\t"), 1, 8))))
	colon    = seq(text(":"), optional(text(" ")))
	comma    = seq(text(","), gap)
	boolean  = alt(text("true"), text("false"))
	nullText = text("null")

	// jsonChar is one character of a string, in any spelling. Of \u escapes
	// there are no lone surrogates.
	jsonChar = func() *expr {
		low := seq(text(`\u`), oneOf("dD"), oneOf("cdefCDEF"), hex, hex)
		high := seq(text(`\u`), oneOf("dD"), oneOf("89abAB"), hex, hex)
		other := seq(text(`\u`), alt(
			seq(oneOf("0123456789abcefABCEF"), hex, hex, hex),
			seq(oneOf("dD"), span('0', '7'), hex, hex),
		))
		return plainly(alt(asText.class(plainRunes), seq(text(`\`), oneOf(`"\/bfnrt`)), other, seq(high, low)))
	}()
	// keyChar is one character of an object's key, each in one spelling: keys
	// that look different are different.
	keyChar = asJSON.class(anyRune)

	quote      = text(`"`)
	jsonString = seq(quote, repeat(jsonChar, 0, -1), quote)
	jsonKey    = seq(quote, repeat(keyChar, 0, -1), quote)

	// Numbers are bounded so that a float64 holds them, integers so that an
	// int64 does.
	jsonInteger = seq(optional(text("-")), alt(text("0"), seq(nonzero, repeat(digit, 0, 17))))
	jsonNumber  = seq(jsonInteger,
		optional(seq(text("."), repeat(digit, 1, 17))),
		optional(seq(oneOf("eE"), optional(oneOf("+-")), repeat(digit, 1, 2))))
)

// plainly is e, which matches any one plain character among others, as a table
// that says so.
func plainly(e *expr) *expr {
	e, ok := tabled(nil, e)
	if !ok {
		panic("grammar: a character's table is too large")
	}
	e.plain = true
	measure(e)
	return e
}

// jsonValue and jsonObject match any value, and any object, whose objects and
// arrays are nested at most maxDepth deep.
var jsonValue, jsonObject = func() (value, object *expr) {
	ref := reference()
	object = braces(jsonKey, ref, 0, -1)
	value = alt(object, brackets(ref, 0, -1), jsonString, jsonNumber, boolean, nullText)
	ref.to(value)
	measure(value)
	return value, object
}()

// braces matches an object of at least low and at most high members (-1: no
// bound).
func braces(key, value *expr, low, high int) *expr {
	return enclosed(text("{"), seq(key, colon, value), text("}"), low, high)
}

// brackets matches an array of at least low and at most high items.
func brackets(item *expr, low, high int) *expr {
	return enclosed(text("["), item, text("]"), low, high)
}

func enclosed(open, item, end *expr, low, high int) *expr {
	rest := high
	if high > 0 {
		rest--
	}
	some := seq(open, gap, item, repeat(seq(comma, item), max(low-1, 0), rest), gap, end)
	if high == 0 {
		some = never
	}
	if low > 0 {
		return some
	}
	return alt(seq(open, end), some)
}
