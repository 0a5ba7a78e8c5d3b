package grammar

import "strings"

// formats are the formats of strings, as regular expressions: what they match
// has the format, though not everything that has it is matched. Dates are
// those that there are, but for leap seconds; hosts' names are lower case, and
// addresses short. A format may have a shorter variant, for strings of which
// the length is bounded: counting is then not needed.
var formats = func() map[string]string {
	const (
		year    = `\d{4}`
		leap    = `(\d\d(0[48]|[2468][048]|[13579][26])|([02468][048]|[13579][26])00)`
		date    = `(` + year + `-((0[13578]|1[02])-(0[1-9]|[12]\d|3[01])|(0[469]|11)-(0[1-9]|[12]\d|30)|02-(0[1-9]|1\d|2[0-8]))|` + leap + `-02-29)`
		clock   = `([01]\d|2[0-3]):[0-5]\d:[0-5]\d(\.\d{1,6})?(Z|[+-]([01]\d|2[0-3]):[0-5]\d)`
		label   = `[a-z0-9]([a-z0-9-]{0,20}[a-z0-9])?`
		name    = label + `(\.` + label + `){0,2}`
		domain  = label + `(\.` + label + `){1,2}`
		octet   = `(25[0-5]|2[0-4]\d|1\d\d|[1-9]?\d)`
		ipv4    = octet + `(\.` + octet + `){3}`
		group   = `[0-9a-fA-F]{1,4}`
		pointer = `(/([a-zA-Z0-9_.-]|~0|~1)*)*`
		path    = `[a-zA-Z0-9._~!$&'()*+,;=:@-]`
		escape  = `\\[dDwWsSnrtfv.^$*+?()\[\]{}|\\]`
		class   = `\[\^?([a-zA-Z0-9_ .,:;/@#%=+*?!$<>()"']|a-z|A-Z|0-9|\\[dws.\]\[\\-])+\]`
		times   = `(([*+?]|\{\d,?\}|\{[01],[1-9]\})\??)?`
	)
	// A regular expression that every dialect reads alike.
	regex := `([a-zA-Z0-9 _.,:;/@#%=!<>"'&~-]|` + escape + `|` + class + `)` + times
	for range 2 {
		regex = `(` + regex + `|[\^$]|\((\?:)?` + `(` + regex + `|[\^$|])*\)` + times + `)`
	}
	short := []string{`(` + group + `:){7}` + group} // with :: in place of some
	for before := range 7 {
		head := ``
		if before > 0 {
			head = group + strings.Repeat(`:`+group, before-1)
		}
		after := strings.Repeat(`(`+group+`:`, 6-before) + strings.Repeat(`)?`, 6-before)
		short = append(short, head+`::(`+after+group+`)?`)
	}
	all := map[string]string{
		"date":                  date,
		"time":                  clock,
		"date-time":             date + `T` + clock,
		"duration":              `P(\d{1,4}W|(\d{1,4}Y(\d{1,4}M(\d{1,4}D)?)?|\d{1,4}M(\d{1,4}D)?|\d{1,4}D)(T(\d{1,4}H(\d{1,4}M(\d{1,4}S)?)?|\d{1,4}M(\d{1,4}S)?|\d{1,4}S))?|T(\d{1,4}H(\d{1,4}M(\d{1,4}S)?)?|\d{1,4}M(\d{1,4}S)?|\d{1,4}S))`,
		"email":                 `[a-zA-Z0-9_+-]{1,24}(\.[a-zA-Z0-9_+-]{1,12})?@` + domain,
		"hostname":              name,
		"ipv4":                  ipv4,
		"ipv6":                  strings.Join(short, `|`),
		"uuid":                  `[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}`,
		"regex":                 `(` + regex + `|\|)*`,
		"json-pointer":          pointer,
		"relative-json-pointer": `(0|[1-9]\d{0,3})(#|` + pointer + `)`,
		"uri":                   `https?://` + name + `(:[1-9]\d{0,3})?(/` + path + `{0,60}){0,8}(\?(` + path + `|[/?]){0,200})?(#(` + path + `|[/?]){0,60})?`,
		"short uri":             `https?://` + label + `\.` + label + `(/` + path + `{0,30}){0,2}`,
	}
	for wide, narrow := range map[string]string{
		"idn-email": "email", "idn-hostname": "hostname",
		"iri": "uri", "uri-reference": "uri", "iri-reference": "uri", "uri-template": "uri",
	} {
		all[wide] = all[narrow]
		if short := all["short "+narrow]; short != "" {
			all["short "+wide] = short
		}
	}
	return all
}()

// perhaps are wider than formats: what they do not match does not have the
// format, whoever looks. Those that are not here have no opposite.
var perhaps = func() map[string]string {
	all := map[string]string{
		"date":      `\d{4}-\d\d-\d\d`,
		"time":      `[^:]*:[^:]*:.*`,
		"date-time": `\d{4}-\d\d-\d\d.*`,
		"duration":  `[Pp+-].*`,
		"email":     `(?s:.*)@(?s:.*)`,
		"hostname":  `[^\s/:@?#]*`,
		"ipv4":      `[0-9a-fA-FxX.]*`,
		"ipv6":      `(?s:.*):(?s:.*):(?s:.*)`,
		"uuid":      `(urn:uuid:|\{)?[0-9a-fA-F-]*\}?`,
		"uri":       `(?s:.*):(?s:.*)`,
	}
	for wide, narrow := range map[string]string{"idn-email": "email", "idn-hostname": "hostname", "iri": "uri"} {
		all[wide] = all[narrow]
	}
	return all
}()
