package reply

// Message is a reply put together.
type Message struct {
	Text, Reasoning []byte
	Calls           []ToolCall
}

// ToolCall asks for a tool.
type ToolCall struct {
	Name      string
	Arguments []byte // an object, as JSON
}

// Add puts parts at the end. It copies. A call is whole, and its
// arguments are JSON, unless the reply was cut off or the model wrote none.
func (m *Message) Add(parts []Part) {
	for i := range parts {
		part := &parts[i]
		switch part.Kind {
		case Text:
			m.Text = append(m.Text, part.Text...)
		case Reasoning:
			m.Reasoning = append(m.Reasoning, part.Text...)
		case Call:
			m.Calls = append(m.Calls, ToolCall{Name: string(part.Text)})
		case Arguments:
			last := &m.Calls[len(m.Calls)-1]
			last.Arguments = append(last.Arguments, part.Text...)
		}
	}
}
