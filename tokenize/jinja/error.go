package jinja

import (
	"errors"
	"fmt"
)

// Error says what went wrong in a template, and where.
type Error struct {
	Template string // name given to Parse
	Line     int    // 1-based; 0 when unknown
	Kind     string // as Python names it: TemplateSyntaxError, TypeError, UndefinedError, …; LimitError for a bound
	Msg      string
}

func (e *Error) Error() string {
	return fmt.Sprintf("template %q, line %d: %s: %s", e.Template, e.Line, e.Kind, e.Msg)
}

// RaisedError is the template's own complaint: it called raise_exception.
type RaisedError struct {
	Template string
	Line     int
	Message  string // what the template said, unchanged
}

func (e *RaisedError) Error() string { return e.Message }

func errf(kind, format string, args ...any) error {
	return &Error{Kind: kind, Msg: fmt.Sprintf(format, args...)}
}

func typeErr(format string, args ...any) error  { return errf("TypeError", format, args...) }
func valueErr(format string, args ...any) error { return errf("ValueError", format, args...) }
func limitErr(format string, args ...any) error { return errf("LimitError", format, args...) }

// at fills in where an error happened, unless a node further in already did.
func at(err error, line int) error {
	var e *Error
	var r *RaisedError
	switch {
	case errors.As(err, &e):
		if e.Line == 0 {
			e.Line = line
		}
	case errors.As(err, &r):
		if r.Line == 0 {
			r.Line = line
		}
	}
	return err
}

// in names the template an error belongs to.
func in(err error, name string) error {
	var e *Error
	var r *RaisedError
	switch {
	case errors.As(err, &e):
		e.Template = name
	case errors.As(err, &r):
		r.Template = name
	}
	return err
}
