// Package apierr is what is said to a client whose request failed: a status,
// and what an error object of any API is made of. How that object is written
// is a dialect's business.
package apierr

import (
	"errors"
	"fmt"
	"strconv"

	"github.com/valyala/fasthttp"

	"github.com/troupe-llm/troupe/actors"
)

// Error is a failed request, as clients are told of it.
type Error struct {
	Status  int
	Message string
	Type    string // TypeInvalid …
	Param   string // the field at fault; "": none
	Code    string // "model_not_found", …; "": none
	// RetryAfter is in seconds; 0: not said.
	RetryAfter int
}

func (e *Error) Error() string { return e.Message }

// The types, in OpenAI's words.
const (
	TypeInvalid = "invalid_request_error"
	TypeAuth    = "authentication_error"
	TypeBusy    = "rate_limit_error"
	TypeServer  = "server_error"
)

// Invalid is a request that is wrong in field param, or as a whole when that is "".
func Invalid(param, format string, args ...any) *Error {
	return &Error{Status: fasthttp.StatusBadRequest, Type: TypeInvalid, Param: param, Message: fmt.Sprintf(format, args...)}
}

// pathError is a fault in a part of a field: path is where, from the field on.
type pathError struct {
	path string
	err  error
}

func (e *pathError) Error() string { return e.path + ": " + e.err.Error() }

// At says where within a field err was found, as ".name" or Index(i); outer calls
// put more in front.
func At(path string, err error) error {
	var inner *pathError
	if errors.As(err, &inner) {
		return &pathError{path + inner.path, inner.err}
	}
	return &pathError{path, err}
}

// In is At, but nil for no error.
func In(path string, err error) error {
	if err == nil {
		return nil
	}
	return At(path, err)
}

// Index is the place of an array's element, for At.
func Index(i int) string { return "[" + strconv.Itoa(i) + "]" }

// InField is err, found in field name or in a part of it.
func InField(name string, err error) *Error {
	var input *actors.InputError
	if errors.As(err, &input) {
		return Of(input)
	}
	var inner *pathError
	if errors.As(err, &inner) {
		name, err = name+inner.path, inner.err
	}
	return Invalid(name, "%s: %v", name, err)
}

// Draining is what is answered while the server stops.
var Draining = &Error{
	Status: fasthttp.StatusServiceUnavailable, Type: TypeServer, Code: "shutting_down",
	Message: "the server is shutting down", RetryAfter: 5,
}

// Of gives an error of the engine its status. One that is an *Error stays as it is.
func Of(err error) *Error {
	var e *Error
	var busy *actors.BusyError
	var wait *actors.WaitError
	var input *actors.InputError
	switch {
	case errors.As(err, &e):
		return e
	case errors.As(err, &busy):
		return &Error{
			Status: fasthttp.StatusTooManyRequests, Type: TypeBusy, Code: "server_busy",
			Message: busy.Error(), RetryAfter: max(1, int(busy.RetryAfter.Seconds())),
		}
	case errors.As(err, &wait):
		return &Error{
			Status: fasthttp.StatusServiceUnavailable, Type: TypeServer, Code: "queue_timeout",
			Message: wait.Error(), RetryAfter: max(1, int(wait.MaxWait.Seconds())),
		}
	case errors.As(err, &input):
		e := &Error{Status: fasthttp.StatusBadRequest, Type: TypeInvalid, Param: input.Param, Message: input.Error()}
		if input.TooLong { // what clients shorten a conversation at
			e.Code = CodeTooLong
		}
		return e
	case errors.Is(err, actors.ErrDraining):
		return Draining
	case errors.Is(err, actors.ErrFailed):
		e := &Error{Status: fasthttp.StatusServiceUnavailable, Type: TypeServer, Code: "device_failed", Message: err.Error()}
		if errors.Is(err, actors.ErrAbsent) {
			e.RetryAfter = RetryAbsent
		}
		return e
	}
	return &Error{Status: fasthttp.StatusInternalServerError, Type: TypeServer, Message: err.Error()}
}

// RetryAbsent is when to try again where an engine may come, in seconds.
const RetryAbsent = 5

// CodeTooLong is the code of a prompt that the context has no room for.
const CodeTooLong = "context_length_exceeded"
