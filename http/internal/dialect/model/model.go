// Package model is what dialects know of the served model, and of the bounds
// that the server sets to requests for it.
package model

import (
	"fmt"
	"slices"

	"github.com/valyala/fasthttp"

	"github.com/troupe-llm/troupe/gpu/batch"
	"github.com/troupe-llm/troupe/http/internal/dialect/apierr"
	"github.com/troupe-llm/troupe/tokenize"
)

// Model is the served model. It does not change.
type Model struct {
	Names       []string       // by which clients may ask for it; answers give the first
	Fingerprint string         // the same for the same program with the same model
	Vocab       int            // token ids are below it
	Context     int            // tokens a request may have, prompt and answer
	Sampling    batch.Sampling // of requests that say nothing
	Tokenizer   Tokenizer      // nil: the model has none
	Family      Family

	// What one request may ask for.
	MaxChoices, MaxStops int
	MaxStopBytes         int // of each
}

// Tokenizer is what is asked of a *tokenize.Tokenizer.
type Tokenizer interface {
	Encode(text string, addSpecial bool) []int32
	Decode(ids []int32, skipSpecial bool) string
	DecodeEnds(ids []int32, skipSpecial bool) ([]byte, []int)
	Token(id int32) string
	TokenBytes(id int32) []byte
	Render(tokenize.Chat) (string, error)
	TokenID(string) (int32, bool)
	IsSpecial(id int32) bool
	ChatTemplate(tools bool) string
	Named(special string) string
	NineLetterIDs() bool
	ContentParts() map[string]bool
	LateSystems() bool
	Alternates() bool
	WholeTools() bool
	LeastChatTokens(*tokenize.Chat) int
	LeastMarks(users, assistants int) int
}

// Name is what answers call the model that was asked for by a name; "" is the
// first of Names. A name that it has not is a 404.
func (m *Model) Name(asked string) (string, *apierr.Error) {
	switch {
	case asked == "":
		return m.Names[0], nil
	case slices.Contains(m.Names, asked):
		return asked, nil
	}
	return "", m.NotFound(asked)
}

// NotFound says that there is no model of this name.
func (m *Model) NotFound(name string) *apierr.Error {
	return NoSuch(name, fmt.Sprintf("%q is", m.Names[0]))
}

// NoSuch is the same, with what there is: `"a" is`.
func NoSuch(name, there string) *apierr.Error {
	return &apierr.Error{
		Status: fasthttp.StatusNotFound, Type: apierr.TypeInvalid, Param: "model", Code: "model_not_found",
		Message: fmt.Sprintf("the model %q is not served here; %s", name, there),
	}
}
