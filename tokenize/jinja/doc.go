// Package jinja renders the chat templates that language models are published
// with, as Python's jinja2 does in the environment transformers gives them: a
// sandbox with immutable values, trim_blocks, lstrip_blocks, break and
// continue, its own tojson filter, raise_exception, strftime_now and the
// {% generation %} tag.
//
// A template goes through four hands:
//
//	source ─ lex*.go ─▶ tokens ─ parse*.go ─▶ tree ─ scope.go ─▶ slots ─ exec.go, eval.go ─▶ text
//
// Parse does all of it but the last; a parsed Template never changes, so any
// number of goroutines may Render it at once. scope.go decides, as jinja2's
// compiler does, which variable each name means. value.go, dict.go, number.go,
// text.go, compare.go and repr.go hold what a value is and how Python treats it;
// filters*.go, tests.go, methods*.go, format*.go and globals.go are the library;
// json.go reads JSON with its keys in order, tojson.go writes it as json.dumps
// does.
//
// Rendering is bounded (Limits): a template can neither loop for ever, nor
// recurse without end, nor fill the memory, nor reach anything outside its
// variables.
//
// All of the 28 published templates it is tested with (Qwen, Llama 3.x, Mistral,
// DeepSeek, gpt-oss, Hermes, Phi, Granite, Gemma, Kimi and others) come out as
// from transformers, errors included. What is left out, since no chat template
// was seen to use it:
//
//   - refused by name when parsed: include, import, from, extends, block and
//     autoescape; the filters pprint, random, urlize and wordwrap
//   - an error when reached: lipsum; str.encode, translate and maketrans; complex
//     numbers; set operations on the views of a dict
//   - undefined: self, range.index and .count, .grouper and .list of a group (it
//     is a plain pair)
//   - a constant 1e999, or a slice of a constant that cannot be sliced, which
//     jinja2 folds into something else than it would have found at run time
package jinja
