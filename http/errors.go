package http

import (
	"errors"
	"strconv"

	"github.com/valyala/fasthttp"

	"github.com/troupe-llm/troupe/http/internal/dialect"
	"github.com/troupe-llm/troupe/http/internal/dialect/apierr"
)

// Error is a failed request, as clients are told of it.
type Error = apierr.Error

// statusClientClosed is what logs and metrics call a request whose client
// went away before it was answered. It is never sent.
const statusClientClosed = 499

var (
	errLoading = &Error{
		Status: fasthttp.StatusServiceUnavailable, Type: apierr.TypeServer, Code: "loading",
		Message: "the model is being loaded; try again soon", RetryAfter: 2,
	}
	errTimeout = &Error{
		Status: fasthttp.StatusGatewayTimeout, Type: apierr.TypeServer, Code: "request_timeout", RetryAfter: 1,
		Message: "the answer took longer than this server allows (--request-timeout, --stream-timeout); ask for fewer tokens, or when it is less busy",
	}
	errInternal = &Error{
		Status: fasthttp.StatusInternalServerError, Type: apierr.TypeServer,
		Message: "the server failed to handle this request; its log says why",
	}
)

// asError gives why an answer failed its status.
func asError(err error) *Error {
	switch {
	case errors.Is(err, errCut):
		return apierr.Draining
	case errors.Is(err, errLate):
		return errTimeout
	case errors.Is(err, errGone):
		return &Error{Status: statusClientClosed, Type: apierr.TypeInvalid, Message: err.Error()}
	}
	return apierr.Of(err)
}

// writeError makes e the response to the request of this id, in the words of d.
func writeError(ctx *fasthttp.RequestCtx, d dialect.Dialect, id string, e *Error) {
	ctx.Response.ResetBody()
	ctx.SetStatusCode(e.Status)
	ctx.SetContentType(typeJSON)
	if e.RetryAfter > 0 {
		ctx.Response.Header.Set(fasthttp.HeaderRetryAfter, strconv.Itoa(e.RetryAfter))
	}
	ctx.SetBody(append(d.AppendError(nil, &dialect.Failed{Error: e, ID: id}), '\n'))
}
