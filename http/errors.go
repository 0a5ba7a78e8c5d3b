package http

import (
	"errors"
	"fmt"
	"strconv"

	"github.com/valyala/fasthttp"

	"github.com/troupe-llm/troupe/actors"
)

// Error is a failed request, as clients see it: a status and OpenAI's error
// object.
type Error struct {
	Status  int
	Message string
	Type    string // "invalid_request_error", "server_error", …
	Param   string // the field at fault; "" is null
	Code    string // "model_not_found", …; "" is null
	// RetryAfter is in seconds; 0: not said.
	RetryAfter int
}

func (e *Error) Error() string { return e.Message }

const (
	typeInvalid = "invalid_request_error"
	typeAuth    = "authentication_error"
	typeBusy    = "rate_limit_error"
	typeServer  = "server_error"
)

// statusClientClosed is what logs and metrics call a request whose client
// went away before it was answered. It is never sent.
const statusClientClosed = 499

func badRequest(param, format string, args ...any) *Error {
	return &Error{Status: fasthttp.StatusBadRequest, Type: typeInvalid, Param: param, Message: fmt.Sprintf(format, args...)}
}

// badField is err, found in field name or in a part of it.
func badField(name string, err error) *Error {
	var input *actors.InputError
	if errors.As(err, &input) {
		return asError(input)
	}
	var inner *fieldError
	if errors.As(err, &inner) {
		name, err = name+inner.path, inner.err
	}
	return badRequest(name, "%s: %v", name, err)
}

var (
	errDraining = &Error{
		Status: fasthttp.StatusServiceUnavailable, Type: typeServer, Code: "shutting_down",
		Message: "the server is shutting down", RetryAfter: 5,
	}
	errLoading = &Error{
		Status: fasthttp.StatusServiceUnavailable, Type: typeServer, Code: "loading",
		Message: "the model is being loaded; try again soon", RetryAfter: 2,
	}
	errInternal = &Error{
		Status: fasthttp.StatusInternalServerError, Type: typeServer,
		Message: "the server failed to handle this request; its log says why",
	}
)

// asError gives an error of the engine its status.
func asError(err error) *Error {
	var e *Error
	var busy *actors.BusyError
	var input *actors.InputError
	switch {
	case errors.As(err, &e):
		return e
	case errors.As(err, &busy):
		return &Error{
			Status: fasthttp.StatusTooManyRequests, Type: typeBusy, Code: "server_busy",
			Message: busy.Error(), RetryAfter: max(1, int(busy.RetryAfter.Seconds())),
		}
	case errors.As(err, &input):
		e := &Error{Status: fasthttp.StatusBadRequest, Type: typeInvalid, Param: input.Param, Message: input.Error()}
		if input.TooLong { // what clients shorten a conversation at
			e.Code = "context_length_exceeded"
		}
		return e
	case errors.Is(err, actors.ErrDraining), errors.Is(err, errCut):
		return errDraining
	case errors.Is(err, errGone):
		return &Error{Status: statusClientClosed, Type: typeInvalid, Message: err.Error()}
	case errors.Is(err, actors.ErrFailed):
		return &Error{Status: fasthttp.StatusServiceUnavailable, Type: typeServer, Code: "device_failed", Message: err.Error()}
	}
	return &Error{Status: fasthttp.StatusInternalServerError, Type: typeServer, Message: err.Error()}
}

// appendError appends {"error":{…}}.
func appendError(dst []byte, e *Error) []byte {
	dst = append(dst, `{"error":{"message":`...)
	dst = appendQuoted(dst, e.Message)
	dst = append(dst, `,"type":`...)
	dst = appendQuoted(dst, e.Type)
	dst = append(dst, `,"param":`...)
	dst = appendOrNull(dst, e.Param)
	dst = append(dst, `,"code":`...)
	dst = appendOrNull(dst, e.Code)
	return append(dst, `}}`...)
}

func appendOrNull(dst []byte, s string) []byte {
	if s == "" {
		return append(dst, "null"...)
	}
	return appendQuoted(dst, s)
}

// writeError makes e the response.
func writeError(ctx *fasthttp.RequestCtx, e *Error) {
	ctx.Response.ResetBody()
	ctx.SetStatusCode(e.Status)
	ctx.SetContentType(typeJSON)
	if e.RetryAfter > 0 {
		ctx.Response.Header.Set(fasthttp.HeaderRetryAfter, strconv.Itoa(e.RetryAfter))
	}
	ctx.SetBody(append(appendError(nil, e), '\n'))
}
