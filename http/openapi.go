package http

import _ "embed"

// The description of what is served, in OpenAPI 3.1. A test holds the fields,
// types and bounds of requests in it against those that are decoded, and its
// paths against the router's.
//
//go:embed openapi.json
var openAPI []byte

func describe(x *exchange) *Error {
	x.ctx.SetContentType(typeJSON)
	x.ctx.SetBody(openAPI)
	return nil
}
