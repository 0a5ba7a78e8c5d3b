package conversation

import (
	"github.com/troupe-llm/troupe/tokenize"
	"github.com/troupe-llm/troupe/tokenize/jinja"
)

// What APIs allow and some templates refuse is put as these want it.

// alternating joins what users say in a row.
func alternating(messages []tokenize.Message) (all []tokenize.Message) {
	for _, m := range messages {
		last := len(all) - 1
		if last < 0 || m.Text("role") != "user" || all[last].Text("role") != "user" {
			all = append(all, m)
			continue
		}
		all[last].Object = all[last].With("content", joined(all[last].Get("content"), m.Get("content")))
	}
	return all
}

// joined are two contents, each a text or parts, as one.
func joined(a, b any) any {
	if s, is := a.(string); is {
		if t, is := b.(string); is {
			return s + "\n\n" + t
		}
	}
	return append(parts(a), parts(b)...)
}

func parts(content any) []any {
	if all, is := content.([]any); is {
		return all
	}
	part := jinja.NewDict(2)
	part.Set("type", "text")
	part.Set("text", content)
	return []any{part}
}

// complete gives tools what they leave out: a description, and parameters, of which
// there are none.
func complete(tools []tokenize.Tool) {
	for i, t := range tools {
		d, _ := t.Get("function").(*jinja.Dict)
		if d == nil {
			continue
		}
		f := tokenize.NewObject(d)
		if f.Get("description") == nil {
			f = f.With("description", "")
		}
		if f.Get("parameters") == nil {
			none := jinja.NewDict(2)
			none.Set("type", "object")
			none.Set("properties", jinja.NewDict(0))
			f = f.With("parameters", none)
		}
		tools[i].Object = t.With("function", f)
	}
}
