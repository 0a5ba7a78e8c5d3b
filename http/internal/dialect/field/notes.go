package field

import (
	"errors"
	"slices"
)

// Notes are what reading a request leaves to be said: which of its fields were
// ignored. They are one request's.
type Notes struct {
	Strict  bool     // none is: a field that is not known is an error
	Ignored []string // their paths without indices, as they came, each once; mostNotes at most
}

// mostNotes bounds what a client can have kept, said and logged.
const mostNotes = 32

// Ignore notes that the field of this path changes nothing, or says that it is not
// known. It is for what cannot make an answer wrong by being ignored.
func (n *Notes) Ignore(path string) error {
	if n.Strict {
		return errors.New("unknown field")
	}
	if len(n.Ignored) < mostNotes && !slices.Contains(n.Ignored, path) {
		n.Ignored = append(n.Ignored, path)
	}
	return nil
}
