package reply

import (
	"slices"
	"strings"
)

// twinChannels reads a reply of several messages.
func twinChannels(o Options, s string) (m Message) {
	ch := o.Format.Channels
	marks := append(slices.Clone(ch.Ends), ch.Start, ch.Channel)
	cut := func(s string, arguments bool) (before, after string, found bool) {
		for at := range len(s) {
			for i, w := range marks {
				if strings.HasPrefix(s[at:], w) && !(arguments && twinWithin(s[:at])) {
					if before, after = s[:at], s[at:]; i < len(ch.Ends) {
						after = after[len(w):]
					}
					return before, after, true
				}
			}
		}
		return s, "", false
	}
	headed := false
	for _, w := range []string{ch.Start, ch.Channel, ch.To} {
		headed = headed || strings.HasPrefix(s, w)
		if !o.Opened && !o.Continued && s != "" && len(s) < len(w) && strings.HasPrefix(w, s) {
			if !o.Required {
				m.Text = []byte(s) // as if it had come to no more
			}
			return m
		}
	}
	kind, name := "text", ""
	if o.Opened {
		kind = "reasoning"
	}
	headed = headed && !o.Opened && !o.Continued
	first := !headed
	for {
		if headed {
			head, rest, found := strings.Cut(s, ch.Message)
			if !found {
				return m
			}
			h := readHeader(ch, head)
			known := slices.ContainsFunc(o.Tools, func(t Tool) bool { return t.Name == h.recipient })
			plain := strings.TrimPrefix(h.recipient, ch.Tools)
			switch {
			case len(o.Tools) > 0 && (plain != h.recipient && plain != "" || known):
				kind, name = "call", plain
			case h.recipient != "" && h.recipient != "user" || h.channel == ch.Reasoning:
				kind = "reasoning"
			default:
				kind = "text"
			}
			s = rest
		}
		if o.Joined && kind == "reasoning" && headed {
			kind = "text"
		}
		body, rest, found := cut(s, kind == "call")
		s = rest
		if kind != "text" || !first {
			body = strings.TrimLeft(body, blanks)
		}
		if kind != "text" || found {
			body = strings.TrimRight(body, blanks)
		}
		switch kind {
		case "call":
			if found && body == "" {
				body = "{}"
			}
			m.Calls = append(m.Calls, ToolCall{name, []byte(body)})
			if found && o.One {
				return m
			}
		case "reasoning":
			m.Reasoning = append(m.Reasoning, body...)
		default:
			if strings.TrimRight(body, blanks) != "" && len(m.Text) > 0 {
				m.Text = append(m.Text, "\n\n"...)
			}
			m.Text = append(m.Text, body...)
		}
		if !found {
			return m
		}
		headed, first = true, false
	}
}
