// Package reply reads what models write: the counterpart of chat templates,
// which write what models read.
//
// A reply is reasoning, if the model reasons, then text, with calls of tools
// in it or instead of it. How these are written is a matter of the family, and
// described as data:
//
//	hermes       <tool_call>{"name": "f", "arguments": {…}}</tool_call>
//	qwen3_coder  <tool_call><function=f><parameter=x>1</parameter></function></tool_call>
//	mistral      [TOOL_CALLS]f[ARGS]{…}
//	pythonic     [f(x=1), g()]
//	openai       <|channel|>commentary to=functions.f<|message|>{…}<|call|>
//
// and some twenty others: format.go says what there is to describe, formats.go
// lists them. Which one a model writes shows in its template.
//
// A Parser takes the reply in pieces as they come and says what each brought:
// Parts (parser.go; calls.go and channels.go for what its states are about). A
// section follows one way to write calls byte by byte (call.go), and in it
// arguments as JSON (json.go, object.go), within marks (params.go, types.go) or
// as in a program (literal.go, values.go). A Message is the parts put together
// (message.go). The same descriptions become grammars of what a model may be
// made to write (written.go, schema.go).
//
// What a reply amounts to does not depend on how it was cut into pieces: every
// decision is taken at a byte of the reply, by that byte and those before.
package reply
