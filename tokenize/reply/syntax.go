package reply

import (
	"encoding/json"
	"strings"
)

// Syntax is how to write calls as a family does, for who makes a model do so:
// Begin, the calls with Between between them, End.
type Syntax struct {
	Begin, Between, End string

	arguments string // the name they go by in a call's object; "": there is none
}

// Syntax is the format's, as a model with this chat template writes it. Without
// a format of its own a model writes as Llama 3 does, which needs no marks.
func (f Format) Syntax(template string) Syntax {
	switch f {
	case Hermes:
		return Syntax{hermesMark + "\n", "\n" + hermesEnd + "\n" + hermesMark + "\n", "\n" + hermesEnd, "arguments"}
	case Mistral:
		if strings.Contains(template, mistralArgs) {
			return Syntax{Begin: mistralMark, Between: mistralMark}
		}
		return Syntax{mistralMark + "[", ", ", "]", "arguments"}
	}
	return Syntax{Between: "; ", arguments: "parameters"}
}

// Around is what stands before and after the arguments in a call of a tool.
func (s *Syntax) Around(name string) (before, after string) {
	if s.arguments == "" {
		return name + mistralArgs, ""
	}
	quoted, err := json.Marshal(name)
	if err != nil {
		panic(err) // any string can be written
	}
	return `{"name": ` + string(quoted) + `, "` + s.arguments + `": `, "}"
}

// Mark is what announces calls in a text; "" when they can only be all of it.
func (f Format) Mark() string {
	if f == Llama3 {
		return ""
	}
	return f.mark()
}

// AllMarks are the marks of all formats, and of reasoning. Where a tokenizer
// has a token for one, that is how models write it.
func AllMarks() []string {
	return []string{thinkMark, thinkEnd, hermesMark, hermesEnd, llamaMark, mistralMark, mistralArgs, mistralID}
}

// Think is what stands before and after reasoning.
func Think() (before, after string) { return thinkMark, thinkEnd }
