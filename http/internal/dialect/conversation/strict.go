package conversation

import "github.com/troupe-llm/troupe/tokenize/jinja"

// What APIs allow and some templates refuse is put as these want it.

// alternating joins what users say in a row.
func alternating(messages []any) (all []any) {
	for _, m := range messages {
		next, _ := m.(*jinja.Dict)
		var last *jinja.Dict
		if len(all) > 0 {
			last, _ = all[len(all)-1].(*jinja.Dict)
		}
		if last == nil || next == nil || !isUser(last) || !isUser(next) {
			all = append(all, m)
			continue
		}
		a, _ := last.Get("content")
		b, _ := next.Get("content")
		last.Set("content", joined(a, b))
	}
	return all
}

func isUser(message *jinja.Dict) bool {
	role, _ := message.Get("role")
	return role == "user"
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
func complete(tools []any) {
	for _, t := range tools {
		tool, _ := t.(*jinja.Dict)
		if tool == nil {
			continue
		}
		v, _ := tool.Get("function")
		f, _ := v.(*jinja.Dict)
		if f == nil {
			continue
		}
		if d, _ := f.Get("description"); d == nil {
			f.Set("description", "")
		}
		if p, _ := f.Get("parameters"); p == nil {
			none := jinja.NewDict(2)
			none.Set("type", "object")
			none.Set("properties", jinja.NewDict(0))
			f.Set("parameters", none)
		}
	}
}
