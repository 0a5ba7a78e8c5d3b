// Package jinja renders the chat templates that language models are published
// with, as Python's jinja2 does in the environment transformers gives them: a
// sandbox with immutable values, trim_blocks, lstrip_blocks, break and
// continue, its own tojson filter, raise_exception, strftime_now and the
// {% generation %} tag.
//
// A template goes through four hands, a file or two each:
//
//	source ─ lex.go ─▶ tokens ─ parse*.go ─▶ tree ─ scope.go ─▶ slots ─ exec.go, eval.go ─▶ text
//
// Parse does all of it but the last; a parsed Template never changes, so any
// number of goroutines may Render it at once. scope.go decides, as jinja2's
// compiler does, which variable each name means. value.go, number.go, text.go
// and repr.go hold what a value is and how Python treats it; filters*.go,
// tests.go, methods*.go and globals.go are the library; json.go reads JSON with
// its keys in order and writes it as json.dumps does.
//
// Rendering is bounded (Limits): a template can neither loop for ever, nor
// recurse without end, nor fill the memory, nor reach anything outside its
// variables.
//
// Not supported, and refused by name when the template is parsed: include,
// import, from, extends, block and autoescape; the filters pprint, random,
// urlize and wordwrap. Calling lipsum, str.encode, str.translate or
// str.maketrans is an error when it happens.
package jinja
