// Package http serves the OpenAI API with fasthttp.
//
// Read it in the order a request does:
//
//	server.go      starting and stopping
//	front.go       connections, for clients and apart for who runs the server (accept.go, tls.go)
//	guard.go       what is refused for its header: hosts, foreign pages, length
//	exchange.go    what surrounds every request: ids, limits (limits.go), CORS, the log line
//	routes.go      which path goes where, and which need a key (keys.go)
//	body.go        reading the body, within a budget for all (budget.go)
//	json.go        strict walking of a request body
//	fields.go      the fields of a request, each with its type and bounds
//	messages.go    a chat's messages as templates want them
//	effort.go      how much the model is to reason
//	tools.go       the tools a model may call, and what its replies may hold
//	toolchoice.go  calls that tool_choice demands, or that keep to their schemas
//	call.go        the decoded request, and what the engine is asked for
//	engine.go      what is asked of the engine
//	answer.go      the engine's events on their way back, merged over choices
//	parsed.go      what their text means: reasoning, tool calls
//	chunk.go       those events as JSON
//	stream.go      that JSON as server-sent events
//	pens.go        who writes them: a few goroutines for all streams
//
// playground.go, playground_stats.go and journey.go, apart from these, are the
// page at "/" (its sources are in playground) and what it shows;
// openapi.json describes all routes, and openapi_test.go holds it against them.
//
// A connection's goroutine does all of this itself: it decodes, submits, waits
// for events and writes them; but that a stream is a pen's while the client
// reads as fast as tokens come. Beside it only a watcher is parked, which tells
// when the client has gone (gone_unix.go): when it closes the connection, or only
// its sending side, which cannot be told apart.
//
// Nothing is silently ignored: a field this server does not know, or knows and
// does not support, is refused with its name. The exceptions are labels that
// change nothing in an answer (see labels in fields.go).
package http
