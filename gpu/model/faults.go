package model

import (
	"errors"
	"fmt"
	"strings"
)

// ErrUnsupported is wrapped by errors about checkpoints that are sound but
// that no device here runs: an architecture, RoPE type or format not (yet)
// known.
var ErrUnsupported = errors.New("not supported")

// maxFaults bounds how many faults one error spells out.
const maxFaults = 12

// faults gathers everything wrong with one file, so that it is reported at
// once.
type faults struct {
	where       string // file, or what else is being checked
	list        []string
	unsupported bool
}

func (f *faults) addf(format string, args ...any) {
	f.list = append(f.list, fmt.Sprintf(format, args...))
}

// unsupportedf adds a fault that is ours: the file is well-formed.
func (f *faults) unsupportedf(format string, args ...any) {
	f.unsupported = true
	f.addf(format, args...)
}

// err is nil when nothing was added.
func (f *faults) err() error {
	if len(f.list) == 0 {
		return nil
	}
	text := f.where + ": " + f.list[0]
	if len(f.list) > 1 {
		shown := f.list[:min(len(f.list), maxFaults)]
		text = fmt.Sprintf("%s: %d faults:\n  %s", f.where, len(f.list), strings.Join(shown, "\n  "))
		if rest := len(f.list) - len(shown); rest > 0 {
			text += fmt.Sprintf("\n  and %d more", rest)
		}
	}
	return &faultError{text, f.unsupported}
}

type faultError struct {
	text        string
	unsupported bool
}

func (e *faultError) Error() string { return e.text }

func (e *faultError) Is(target error) bool { return e.unsupported && target == ErrUnsupported }
