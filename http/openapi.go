package http

import (
	_ "embed"

	"github.com/troupe-llm/troupe/http/internal/dialect/jsonenc"
)

// The description of what is served, in OpenAPI 3.1. A test holds the fields,
// types and bounds of requests in it against those that are decoded, and its
// paths against the router's.
//
//go:embed openapi.json
var openAPI []byte

func describe(x *exchange) *Error {
	x.ctx.SetContentType(typeJSON)
	x.ctx.SetBody(x.s.openAPI)
	return nil
}

// describedAt is the description of what is served at root.
func describedAt(root string) []byte {
	if root == "" {
		return openAPI
	}
	text := jsonenc.Quoted([]byte(`{"servers":[{"url":`), root)
	return append(append(text, "}],"...), openAPI[1:]...)
}
