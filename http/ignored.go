package http

import (
	"strings"
	"sync"

	"github.com/troupe-llm/troupe/http/internal/dialect/field"
)

// ignored are the fields that were ignored since the server began: each is logged
// the first time. Its methods may be called from any goroutine.
type ignored struct {
	mu   sync.Mutex
	seen map[string]bool // by route and field, mostIgnored at most; guarded by mu
}

// mostIgnored bounds what clients can have logged and kept.
const mostIgnored = 256

// first reports whether a field of a route comes for the first time.
func (g *ignored) first(route, name string) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	key := route + " " + name
	if g.seen[key] || len(g.seen) == mostIgnored {
		return false
	}
	if g.seen == nil {
		g.seen = map[string]bool{}
	}
	g.seen[key] = true
	return true
}

// notes are those of reading a request of which nothing has been read.
func (x *exchange) notes() field.Notes { return field.Notes{Strict: x.s.cfg.StrictFields} }

// sayIgnored tells the client which fields of its request were ignored, and the log
// which are for the first time.
func (x *exchange) sayIgnored(notes *field.Notes) {
	if len(notes.Ignored) == 0 {
		return
	}
	names := make([]string, len(notes.Ignored))
	for i, name := range notes.Ignored {
		names[i] = printable(name)
		if x.s.ignored.first(x.route, names[i]) {
			x.s.log.Warn().Str("route", x.route).Str("field", names[i]).Str("request_id", x.id).
				Msg("a field of requests is ignored; answers are valid without it")
		}
	}
	x.ctx.Response.Header.Set(headerIgnored, strings.Join(names, ", "))
}

// longestName is the most of a field's name that is said.
const longestName = 64

// printable is a field's name as a header can hold it, in a list with commas.
func printable(name string) string {
	if len(name) > longestName {
		name = name[:longestName]
	}
	return strings.Map(func(r rune) rune {
		if r <= ' ' || r > '~' || r == ',' {
			return '?'
		}
		return r
	}, name)
}
