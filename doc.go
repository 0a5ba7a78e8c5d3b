// Package troupe is the module of an LLM server and of what it is made of. There is no code in it: it
// says what other programs may build on.
//
// # For other programs
//
//   - actors: a model in the process: requests, streams, events
//   - http: the server of it, for a listener of the program's own
//   - tokenize: text and token ids; chats and their templates
//   - tokenize/grammar: JSON schemas, regular expressions and grammars, as sets of tokens that may follow
//   - tokenize/jinja: the templates' language
//   - tokenize/reply: reasoning and tool calls in what models write
//   - gpu/model: checkpoints: configurations, tensors
//   - gpu/model/builtin: the small model inside the program, to try things on
//   - gpu/model/hub: models by their names on Hugging Face, in its cache
//
// # What is promised
//
// Versions are semantic. While they begin with 0, a minor version (0.1 to 0.2) may change these
// packages, and CHANGELOG.md then says under "Changed" what to write instead; a patch (0.1.0 to 0.1.1)
// changes none of what they export, but for mending what was wrong. From 1.0 on what they export stays.
// That holds for what their documentation names, types of other packages that it leads to among it.
// Structs may get fields at any time (write their literals with names), and so may interfaces that
// this module alone implements.
//
// All other packages are the program's own. Those that lie in no internal directory are there because
// the program, its benchmarks or its other packages use them across the module, and change at any time.
package troupe
