package grammar

import "strings"

// Addresses as their RFCs have them: IPv4 and IPv6 (RFC 3986, 3.2.2, and 4291),
// URIs (RFC 3986), IRIs (RFC 3987), templates (RFC 6570), pointers (RFC 6901).

const (
	octet   = `(25[0-5]|2[0-4]\d|1\d\d|[1-9]?\d)`
	ipv4    = octet + `(\.` + octet + `){3}`
	percent = `%[0-9a-fA-F]{2}`
	pointer = `(/([^~/]|~[01])*)*`

	// beyondASCII are RFC 3987's ucschar, and private those of queries.
	beyondASCII = `\x{A0}-\x{D7FF}\x{F900}-\x{FDCF}\x{FDF0}-\x{FFEF}\x{10000}-\x{1FFFD}\x{20000}-\x{2FFFD}\x{30000}-\x{3FFFD}\x{40000}-\x{4FFFD}` +
		`\x{50000}-\x{5FFFD}\x{60000}-\x{6FFFD}\x{70000}-\x{7FFFD}\x{80000}-\x{8FFFD}\x{90000}-\x{9FFFD}\x{A0000}-\x{AFFFD}\x{B0000}-\x{BFFFD}` +
		`\x{C0000}-\x{CFFFD}\x{D0000}-\x{DFFFD}\x{E1000}-\x{EFFFD}`
	private = `\x{E000}-\x{F8FF}\x{F0000}-\x{FFFFD}\x{100000}-\x{10FFFD}`

	shortURI = `https?://` + shortLabel + `\.` + shortLabel + `(/[a-zA-Z0-9._~!$&'()*+,;=:@-]{0,30}){0,2}`
)

// ipv6 is eight groups, of which the last two may be an IPv4 address, or fewer
// with :: in place of one or more.
var ipv6 = func() string {
	const group = `[0-9a-fA-F]{1,4}`
	last := `(` + group + `:` + group + `|` + ipv4 + `)`
	forms := []string{`(` + group + `:){6}` + last}
	for before := range 7 {
		head := ``
		if before > 0 {
			head = group + strings.Repeat(`:`+group, before-1)
		}
		// Of the groups after ::, at most 7 with those before, an address takes two.
		after := `(` + group + `)?`
		if before < 6 {
			most := 5 - before
			after = `((` + group + `:){0,` + string(rune('0'+most)) + `}` + last + `|` + group + `)?`
		}
		forms = append(forms, head+`::`+after)
	}
	forms = append(forms, group+strings.Repeat(`:`+group, 6)+`::`)
	return `(` + strings.Join(forms, `|`) + `)`
}()

// address is URIs of a set of characters: what unreserved ones there are beside
// ASCII's, and those that queries have, too.
type address struct{ more, query string }

var (
	ascii         = address{}
	international = address{beyondASCII, private}
)

// char is one character of those unreserved, of these others, or percent-encoded.
func (a address) char(others string) string {
	return `([a-zA-Z0-9._~` + a.more + others + `-]|` + percent + `)`
}

const subDelims = `!$&'()*+,;=`

// authority is who is asked. Hosts in the future's notation or with characters
// that are percent-encoded are not read by everyone: they are not written.
func (a address) authority(exact bool) string {
	host := `[a-zA-Z0-9._~` + a.more + subDelims + `-]*`
	literal := ipv6
	if exact {
		host = a.char(subDelims) + `*`
		literal = `(` + ipv6 + `|[vV][0-9a-fA-F]+\.[a-zA-Z0-9._~!$&'()*+,;=:-]+)`
	}
	return `(` + a.char(subDelims+`:`) + `*@)?(` + host + `|\[` + literal + `\])(:\d*)?`
}

func (a address) uri(exact bool) string {
	char := a.char(subDelims + `:@`)
	path := `(//` + a.authority(exact) + `(/` + char + `*)*|/(` + char + `+(/` + char + `*)*)?|` + char + `+(/` + char + `*)*|)`
	return `[a-zA-Z][a-zA-Z0-9+.-]*:` + path + a.tail()
}

// reference is a URI or one that is relative to another.
func (a address) reference(exact bool) string {
	char := a.char(subDelims + `:@`)
	first := a.char(subDelims + `@`)
	path := `(//` + a.authority(exact) + `(/` + char + `*)*|/(` + char + `+(/` + char + `*)*)?|` + first + `+(/` + char + `*)*|)`
	return `(` + a.uri(exact) + `|` + path + a.tail() + `)`
}

// tail is the query and the fragment.
func (a address) tail() string {
	return `(\?` + a.char(subDelims+`:@/?`+a.query) + `*)?(#` + a.char(subDelims+`:@/?`) + `*)?`
}

// template is text with expressions in braces; operators that are reserved for
// extensions are not written.
var template = func() string {
	const (
		character = `([a-zA-Z0-9_]|` + percent + `)`
		name      = character + `(\.?` + character + `)*`
		variable  = name + `(:[1-9]\d{0,3}|\*)?`
		literal   = `([!#$&'()*+,./0-9:;=?@A-Z\[\]_a-z~` + beyondASCII + private + `-]|` + percent + `)`
	)
	return `(` + literal + `|\{[+#./;?&]?` + variable + `(,` + variable + `)*\})*`
}()
