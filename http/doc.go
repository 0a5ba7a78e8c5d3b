// Package http serves APIs of language models with fasthttp: those of package dialect.
//
// Read it in the order a request does:
//
//	server.go      starting and stopping
//	front.go       connections, for clients and apart for who runs the server (accept.go, tls.go)
//	guard.go       what is refused for its header: hosts, foreign pages, length
//	exchange.go    what surrounds every request: ids, limits (limits.go), CORS, the log line
//	routes.go      which path goes where, and which need a key (keys.go)
//	models.go      which model it is for
//	body.go        reading the body, within a budget for all (budget.go)
//	generate.go    a request for text: decoded and written by a dialect (dialect)
//	kept.go        responses that are kept, for others to go on from
//	engine.go      what is asked of the engine
//	answer.go      the engine's events on their way back, merged over choices
//	parsed.go      what their text means: reasoning, tool calls
//	stream.go      an answer as it comes: what the dialect's writer appends to the
//	               body of a response, which few goroutines write for all (sse)
//
// playground.go, playground_stats.go and journey.go, apart from these, are the
// page at "/" (its sources are in playground) and what it shows;
// openapi.json describes all routes, and openapi_test.go holds it against them.
//
// A connection's goroutine does all of this itself: it decodes, submits, waits
// for events and writes them; but that a stream is a writer's while the client
// reads as fast as tokens come. Beside it only a watcher is parked, which tells
// when the client has gone (gone_unix.go): when it closes the connection, or only
// its sending side, which cannot be told apart.
//
// Nothing is silently ignored: a field that could make an answer wrong is refused
// with its name, and any other that this server does not know is named in the
// response (FIELDS.md, ignored.go).
package http
