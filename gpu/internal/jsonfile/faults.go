// Package jsonfile reads the JSON files of a checkpoint and gathers what is wrong
// with them.
package jsonfile

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

// Faults gathers everything wrong with one file, so that it is reported at
// once.
type Faults struct {
	Where       string // file, or what else is being checked
	list        []string
	unsupported bool
}

// Addf adds a fault.
func (f *Faults) Addf(format string, args ...any) {
	f.list = append(f.list, fmt.Sprintf(format, args...))
}

// Unsupportedf adds a fault that is ours: the file is well-formed.
func (f *Faults) Unsupportedf(format string, args ...any) {
	f.unsupported = true
	f.Addf(format, args...)
}

// Err is nil when nothing was added.
func (f *Faults) Err() error {
	if len(f.list) == 0 {
		return nil
	}
	text := f.Where + ": " + f.list[0]
	if len(f.list) > 1 {
		shown := f.list[:min(len(f.list), maxFaults)]
		text = fmt.Sprintf("%s: %d faults:\n  %s", f.Where, len(f.list), strings.Join(shown, "\n  "))
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

// Some reports whether anything was added.
func (f *Faults) Some() bool { return len(f.list) > 0 }

// Size checks a field that has to be there; 0 means it was wrong.
func (f *Faults) Size(field string, v *int, limit int) int {
	switch {
	case v == nil:
		f.Addf("%s: missing", field)
	case *v < 1 || *v > limit:
		f.Addf("%s: %d, want 1 to %d", field, *v, limit)
	default:
		return *v
	}
	return 0
}
