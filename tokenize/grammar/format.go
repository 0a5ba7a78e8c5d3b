package grammar

import (
	"strings"
	"sync"
	"time"
)

// format is a format of strings, as regular expressions.
//
// What is written has the format, whoever looks, though not everything that has
// it may be written: a listed value is told by exact.
type format struct {
	written []piece // one after another
	// unbounded is what is written of any length, for strings whose characters
	// are counted anyway, and most how many there may be; nil: it has no bound.
	unbounded []piece
	most      int
	// short is less of it, for strings of which so much else is said that all of
	// it would be too large; empty: there is none.
	short string
	// exact is everything that has the format; empty: what is written is.
	exact string
	// perhaps is wider: what it does not match does not have the format, whoever
	// looks. A format without it has no opposite.
	perhaps string
	also    func(string) bool // what has the format beside exact; nil: nothing
	expr    func() *expr      // of written; likewise below
	longer  func() *expr      // of unbounded; nil: as expr
	less    func() *expr      // nil: there is no short
	all     func() *expr
	beyond  func() *expr // of perhaps; nil: it is not known
}

// piece is what a regular expression matches, of at most so many characters (0:
// no bound). They are counted while it is matched, or beforehand.
type piece struct {
	source     string
	most       int
	beforehand bool
}

func whole(source string) []piece { return []piece{{source: source}} }

// formats are those that are kept to; others say nothing, as JSON Schema has it.
var formats = func() map[string]*format {
	all := map[string]*format{
		"date":                  {written: whole(fullDate), perhaps: `\d{4}-\d\d-\d\d`},
		"time":                  {written: whole(fullTime), exact: exactTime, perhaps: `[^:]*:[^:]*:.*`, also: leapSecond},
		"date-time":             {written: whole(fullDate + `[Tt]` + fullTime), exact: fullDate + `[Tt]` + exactTime, perhaps: `\d{4}-\d\d-\d\d.*`, also: leapDateTime},
		"duration":              {written: whole(duration(`\d{1,9}`)), exact: duration(`\d+`), perhaps: `[Pp+-].*`},
		"email":                 {written: mailbox(localPart, false), unbounded: mailbox(localPart, true), most: maxMailbox, short: `[a-zA-Z0-9_+-]{1,24}(\.[a-zA-Z0-9_+-]{1,12})?@` + shortDomain, perhaps: `(?s:.*)@(?s:.*)`},
		"idn-email":             {written: mailbox(wideLocalPart, false), unbounded: mailbox(wideLocalPart, true), most: maxMailbox, perhaps: `(?s:.*)@(?s:.*)`},
		"hostname":              {written: []piece{{source: hostName, most: maxHost}}, unbounded: whole(hostName), most: maxHost, short: shortLabel + `(\.` + shortLabel + `){0,2}`, perhaps: `[^\s/:@?#]*`},
		"idn-hostname":          {perhaps: `[^\s/:@?#]*`},
		"ipv4":                  {written: whole(ipv4), perhaps: `[0-9a-fA-FxX.]*`},
		"ipv6":                  {written: whole(ipv6), perhaps: `(?s:.*):(?s:.*):(?s:.*)`},
		"uuid":                  {written: whole(`[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}`), perhaps: `(urn:uuid:|\{)?[0-9a-fA-F-]*\}?`},
		"regex":                 {written: whole(portableRegex())},
		"json-pointer":          {written: whole(pointer)},
		"relative-json-pointer": {written: whole(`(0|[1-9]\d{0,8})(#|` + pointer + `)`), exact: `(0|[1-9]\d*)(#|` + pointer + `)`},
		"uri":                   {written: whole(ascii.uri(false)), exact: ascii.uri(true), short: shortURI, perhaps: `(?s:.*):(?s:.*)`},
		"uri-reference":         {written: whole(ascii.reference(false)), exact: ascii.reference(true), short: shortURI},
		"iri":                   {written: whole(international.uri(false)), exact: international.uri(true), short: shortURI, perhaps: `(?s:.*):(?s:.*)`},
		"iri-reference":         {written: whole(international.reference(false)), exact: international.reference(true), short: shortURI},
		"uri-template":          {written: whole(template), short: shortURI},
	}
	all["idn-email"].short = all["email"].short
	idn, ascii := all["idn-hostname"], all["hostname"]
	idn.written, idn.unbounded, idn.most, idn.short = ascii.written, ascii.unbounded, ascii.most, ascii.short
	for _, f := range all {
		f.expr = once(f.written)
		f.all = f.expr
		if f.unbounded != nil {
			f.longer = once(f.unbounded)
		}
		if f.exact != "" {
			f.all = once(whole(f.exact))
		}
		if f.short != "" {
			f.less = once(whole(f.short))
		}
		if f.perhaps != "" {
			f.beyond = once(whole(f.perhaps))
		}
	}
	return all
}()

// once is pieces one after another, parsed when they are first asked for, and
// for all from then on.
func once(pieces []piece) func() *expr {
	return sync.OnceValue(func() *expr {
		var parts []*expr
		for _, p := range pieces {
			e, err := parseRegex(nil, p.source, asJSON, true)
			ok := err == nil
			switch {
			case !ok || p.most == 0:
			case p.beforehand:
				e, ok = common(nil, e, repeat(keyChar, 0, p.most))
			default:
				e, ok = atMost(nil, e, p.most)
			}
			if !ok {
				panic("grammar: a format cannot be read: " + p.source)
			}
			parts = append(parts, e)
		}
		e := seq(parts...)
		measure(e)
		return e
	})
}

// Dates and times are RFC 3339's. Of leap seconds those of UTC are written; in
// other zones they are told in listed values.
const (
	year      = `\d{4}`
	leapYear  = `(\d\d(0[48]|[2468][048]|[13579][26])|([02468][048]|[13579][26])00)`
	fullDate  = `(` + year + `-((0[13578]|1[02])-(0[1-9]|[12]\d|3[01])|(0[469]|11)-(0[1-9]|[12]\d|30)|02-(0[1-9]|1\d|2[0-8]))|` + leapYear + `-02-29)`
	zone      = `([Zz]|[+-]([01]\d|2[0-3]):[0-5]\d)`
	utc       = `([Zz]|[+-]00:00)`
	fullTime  = `(([01]\d|2[0-3]):[0-5]\d:[0-5]\d(\.\d{1,9})?` + zone + `|23:59:60(\.\d{1,9})?` + utc + `)`
	exactTime = `(([01]\d|2[0-3]):[0-5]\d:[0-5]\d(\.\d+)?` + zone + `|23:59:60(\.\d+)?` + utc + `)`
)

// leapSecond reports whether a text is a time of RFC 3339 in a leap second: the
// last of a day of UTC.
func leapSecond(text string) bool {
	head, rest, ok := strings.Cut(text, ":60")
	if !ok {
		return false
	}
	at, err := time.Parse("15:04:05.999999999Z07:00", strings.ToUpper(head+":59"+rest))
	return err == nil && at.UTC().Hour() == 23 && at.UTC().Minute() == 59 && len(head) == len("15:04") && !strings.Contains(rest, ",")
}

func leapDateTime(text string) bool {
	if len(text) < len("2006-01-02T") {
		return false
	}
	_, err := time.Parse("2006-01-02T", strings.ToUpper(text[:11]))
	return err == nil && leapSecond(text[11:])
}

// duration is RFC 3339's, appendix A.
func duration(n string) string {
	clock := `T(` + n + `H(` + n + `M(` + n + `S)?)?|` + n + `M(` + n + `S)?|` + n + `S)`
	date := n + `Y(` + n + `M(` + n + `D)?)?|` + n + `M(` + n + `D)?|` + n + `D`
	return `P(` + n + `W|(` + date + `)(` + clock + `)?|` + clock + `)`
}

// Names of hosts are RFC 1123's, without labels that have "--" as their third and
// fourth character: those of IDNA begin so, and which of them are valid no
// regular expression tells. Mailboxes are RFC 5321's.
const (
	letter    = `[a-zA-Z0-9]`
	inner     = `[a-zA-Z0-9-]`
	hostLabel = `(` + letter + `(` + inner + `?` + letter + `)?|` + letter + inner + inner + letter + `|` + letter + inner + `(` + letter + inner + `|-` + letter + `)` + inner + `{0,58}` + letter + `)`

	shortLabel  = `[a-z0-9]([a-z0-9]([a-z0-9]([a-z0-9-]{0,18}[a-z0-9])?)?)?`
	shortDomain = shortLabel + `(\.` + shortLabel + `){1,2}`

	atom          = "[a-zA-Z0-9!#$%&'*+/=?^_`{|}~-]"
	wideAtom      = "[a-zA-Z0-9!#$%&'*+/=?^_`{|}~\\x{80}-\\x{10ffff}-]"
	localPart     = atom + `+(\.` + atom + `+)*|"([ !#-\[\]-~]|\\[ -~])*"`
	wideLocalPart = wideAtom + `+(\.` + wideAtom + `+)*|"([ !#-\[\]-~\x{80}-\x{10ffff}]|\\[ -~])*"`
	hostName      = hostLabel + `(\.` + hostLabel + `)*`
)

var mailDomain = hostName + `|\[(` + ipv4 + `|IPv6:` + ipv6 + `)\]`

// mailbox is of at most maxMailbox characters, or, when that is counted anyway, of
// as many as its domain may have.
func mailbox(local string, counted bool) []piece {
	domain := piece{source: mailDomain, most: maxMailbox - 1 - 64}
	if counted {
		domain.most = 0
	}
	return []piece{{local, 64, counted}, {source: `@`}, domain}
}

const (
	maxMailbox = 254
	maxHost    = 253
)

// portableRegex is a regular expression that every dialect reads alike.
func portableRegex() string {
	const (
		escape = `\\[dDwWsSnrtfv.^$*+?()\[\]{}|\\]`
		class  = `\[\^?([a-zA-Z0-9_ .,:;/@#%=+*?!$<>()"']|a-z|A-Z|0-9|\\[dws.\]\[\\-])+\]`
		times  = `(([*+?]|\{\d,?\}|\{[01],[1-9]\})\??)?`
	)
	regex := `([a-zA-Z0-9 _.,:;/@#%=!<>"'&~-]|` + escape + `|` + class + `)` + times
	for range 2 {
		regex = `(` + regex + `|[\^$]|\((\?:)?` + `(` + regex + `|[\^$|])*\)` + times + `)`
	}
	return `(` + regex + `|\|)*`
}
