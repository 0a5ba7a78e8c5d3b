// Package reply reads what models write: the counterpart of chat templates,
// which write what models read.
//
// A reply is reasoning, if the model reasons, then text, with calls of tools
// in it or instead of it. How calls are written is a matter of the family:
//
//	hermes   <tool_call>{"name": "f", "arguments": {…}}</tool_call>
//	llama3   {"name": "f", "parameters": {…}}, alone or after <|python_tag|>
//	mistral  [TOOL_CALLS][{"name": "f", "arguments": {…}}, …]
//	         [TOOL_CALLS]f[ARGS]{…}
//
// A Parser takes the reply in pieces as they come and says what each brought:
// Parts (parser.go), for which it follows a call's JSON byte by byte (json.go,
// call.go). A Message is those parts put together (message.go). Which family a
// model is of shows in its template (format.go).
//
// What a reply amounts to does not depend on how it was cut into pieces: every
// decision is taken at a byte of the reply, by that byte and those before.
package reply
