package http

import (
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/troupe-llm/troupe/actors"
	"github.com/troupe-llm/troupe/http/internal/dialect"
	"github.com/troupe-llm/troupe/http/internal/dialect/chat"
	"github.com/troupe-llm/troupe/http/internal/dialect/field"
	"github.com/troupe-llm/troupe/http/internal/dialect/messages"
	"github.com/troupe-llm/troupe/http/internal/dialect/model"
	"github.com/troupe-llm/troupe/http/internal/dialect/openai"
	"github.com/troupe-llm/troupe/http/internal/dialect/responses"
	"github.com/troupe-llm/troupe/http/internal/dialect/text"
)

// schema is what these tests read of one.
type schema struct {
	Ref        string `json:"$ref"`
	Type       types
	Enum       []any
	AnyOf      []schema
	Minimum    *float64
	Maximum    *float64
	Required   []string
	Properties map[string]schema
	Items      *schema
}

// types are one name or several.
type types []string

func (t *types) UnmarshalJSON(b []byte) error {
	var one string
	if json.Unmarshal(b, &one) == nil {
		*t = types{one}
		return nil
	}
	return json.Unmarshal(b, (*[]string)(t))
}

type description struct {
	Paths      map[string]map[string]struct{ OperationID string }
	Components struct{ Schemas map[string]schema }
}

func described(t *testing.T) *description {
	t.Helper()
	var d description
	if err := json.Unmarshal(openAPI, &d); err != nil {
		t.Fatal(err)
	}
	return &d
}

// of resolves a reference.
func (d *description) of(s schema) schema {
	if name, is := strings.CutPrefix(s.Ref, "#/components/schemas/"); is {
		return d.Components.Schemas[name]
	}
	return s
}

// takes is the types of JSON a value of the schema may have.
func (d *description) takes(s schema) map[string]bool {
	s = d.of(s)
	all := map[string]bool{}
	for _, t := range s.Type {
		all[t] = true
	}
	for _, e := range s.Enum {
		switch e.(type) {
		case nil:
			all["null"] = true
		case bool:
			all["boolean"] = true
		case float64:
			all["number"] = true
		case string:
			all["string"] = true
		case map[string]any:
			all["object"] = true
		default:
			all["array"] = true
		}
	}
	for _, o := range s.AnyOf {
		maps.Copy(all, d.takes(o))
	}
	if all["integer"] {
		all["number"] = true
	}
	return all
}

func TestDescriptionHasEveryRoute(t *testing.T) {
	s, err := newServer(Config{}, script(), zerologNop)
	if err != nil {
		t.Fatal(err)
	}
	served := map[string]bool{}
	for method, paths := range s.main.router.List() {
		for _, p := range paths {
			served[strings.ToLower(method)+" "+strings.ReplaceAll(p, ":*}", "}")] = true
		}
	}
	ids := map[string]bool{}
	for path, operations := range described(t).Paths {
		for method, op := range operations {
			if !served[method+" "+path] {
				t.Errorf("%s %s is described and not served", method, path)
			}
			delete(served, method+" "+path)
			if op.OperationID == "" || ids[op.OperationID] {
				t.Errorf("%s %s: operationId %q is empty or another's", method, path, op.OperationID)
			}
			ids[op.OperationID] = true
		}
	}
	if len(served) > 0 {
		t.Errorf("served and not described in openapi.json: %v", slices.Sorted(maps.Keys(served)))
	}
}

// The fields of each request, their types and their bounds, are those that
// are decoded. A field that is decoded and refused whatever its value is not
// described.
func TestDescriptionHasEveryField(t *testing.T) {
	d := described(t)
	notes := &field.Notes{Strict: true} // what is ignored is not described
	m := &model.Model{Vocab: 256, MaxChoices: math.MaxInt32, MaxStops: 16, MaxStopBytes: 1024}
	checkFields(t, d, "ChatRequest", chat.Fields, func(body string) error {
		return orNil(field.Decode([]byte(body), chat.Fields, chat.New(m, notes), notes))
	})
	checkFields(t, d, "CompletionRequest", text.Fields, func(body string) error {
		return orNil(field.Decode([]byte(body), text.Fields, text.New(m, notes), notes))
	})
	checkFields(t, d, "ResponseRequest", responses.Fields, func(body string) error {
		return orNil(field.Decode([]byte(body), responses.Fields, responses.New(m, notes), notes))
	})
	checkFields(t, d, "MessagesRequest", messages.Fields, func(body string) error {
		return orNil(field.Decode([]byte(body), messages.Fields, messages.New(m, notes), notes))
	})
	checkFields(t, d, "CountTokensRequest", messages.CountFields, func(body string) error {
		return orNil(field.Decode([]byte(body), messages.CountFields, messages.New(m, notes), notes))
	})
	checkFields(t, d, "TokenizeRequest", tokenizeFields, func(body string) error {
		return orNil(field.Decode([]byte(body), tokenizeFields, newTokenizeCall(m, notes), notes))
	})
	checkFields(t, d, "DetokenizeRequest", detokenizeFields, func(body string) error {
		return orNil(field.Decode([]byte(body), detokenizeFields, &detokenizeCall{vocab: 256}, notes))
	})
}

// orNil keeps a nil *Error from being an error.
func orNil(e *Error) error {
	if e == nil {
		return nil
	}
	return e
}

// values are of every type of JSON; of those that have parts, with and
// without.
var values = map[string][]string{
	"string": {`""`, `"x"`, `"auto"`}, "boolean": {"true", "false"}, "number": {"1", "0.5"}, "object": {"{}", `{"type":"text"}`},
	"array": {"[]", "[1]", `["x"]`, "[[1]]", `["text"]`, `[{"role":"user","content":"x"}]`, "[{}]", `[{"function":{"name":"f"}}]`},
}

func checkFields[T any](t *testing.T, d *description, name string, fields field.Table[T], decode func(body string) error) {
	t.Helper()
	props := d.Components.Schemas[name].Properties
	for field := range props {
		if fields[field] == nil || strings.Contains(field, "*") {
			t.Errorf("%s.%s is described in openapi.json and not decoded", name, field)
		}
	}
	for field := range fields {
		try := func(value string) error { return decode(fmt.Sprintf("{%q:%s}", field, value)) }
		prop, is := props[field]
		takes := d.takes(prop)
		for kind, all := range values {
			accepted := slices.IndexFunc(all, func(v string) bool { return try(v) == nil })
			switch {
			case !is && accepted >= 0:
				t.Errorf("%s.%s takes %s and is not described in openapi.json", name, field, all[accepted])
			case is && accepted >= 0 && !takes[kind]:
				t.Errorf("%s.%s takes %s, and openapi.json says it takes %v", name, field, all[accepted], slices.Sorted(maps.Keys(takes)))
			case is && accepted < 0 && takes[kind] && len(prop.Enum) == 0 && kind != "object":
				t.Errorf("%s.%s takes none of %v, and openapi.json says it takes %v", name, field, all, slices.Sorted(maps.Keys(takes)))
			}
		}
		for bound, beyond := range map[*float64]float64{prop.Minimum: -1, prop.Maximum: 1} {
			// Not those that a float64 cannot tell from their neighbours.
			if bound == nil || math.Abs(*bound) > 1<<53 {
				continue
			}
			if err := try(fmt.Sprint(*bound)); err != nil {
				t.Errorf("%s.%s: the bound %v is refused: %v", name, field, *bound, err)
			}
			if try(fmt.Sprint(*bound+beyond)) == nil {
				t.Errorf("%s.%s: %v is taken, beyond the bound %v", name, field, *bound+beyond, *bound)
			}
		}
		if is && !takes["null"] && !slices.Contains(d.Components.Schemas[name].Required, field) {
			t.Errorf("%s.%s may be absent, so it may be null, which openapi.json does not say", name, field)
		}
	}
}

// Every member of an error and of /stats is described, and no more.
func TestDescriptionOfAnswers(t *testing.T) {
	d := described(t)
	there := &servedModel{info: info{model: "m"}, Model: Model{Names: []string{"m"}}}
	there.attached.Store(true)
	for name, body := range map[string][]byte{
		"Error":          openai.AppendError(nil, errInternal),
		"AnthropicError": messages.Dialect{}.AppendError(nil, &dialect.Failed{Error: errInternal}),
		"Model":          (&Server{}).appendModel(nil, there, "m"),
		"Usage":          openai.AppendUsage(nil, &dialect.Usage{Usage: actors.Usage{AcceptedTokens: 1}}),
	} {
		var v any
		if err := json.Unmarshal(body, &v); err != nil {
			t.Fatal(err)
		}
		d.checkMembers(t, name, v, d.Components.Schemas[name])
	}
	text, err := json.Marshal(statsBody{
		Engines: []engineBody{{Model: "m", Host: "h", Version: "v", Hardware: "w"}}, Models: make([]modelBody, 1), Resumed: 1, Open: make([]openBody, 1),
		Actors:  make([]actorBody, 1),
		Request: &journeyBody{Stages: make([]stageBody, 1), Tokens: make([]markBody, 1), Engines: make([]attemptBody, 1)},
	})
	if err != nil {
		t.Fatal(err)
	}
	var v any
	if err := json.Unmarshal(text, &v); err != nil {
		t.Fatal(err)
	}
	d.checkMembers(t, "Stats", v, d.Components.Schemas["Stats"])
}

func (d *description) checkMembers(t *testing.T, path string, v any, s schema) {
	t.Helper()
	s = d.of(s)
	switch v := v.(type) {
	case map[string]any:
		got, want := slices.Sorted(maps.Keys(v)), slices.Sorted(maps.Keys(s.Properties))
		if !reflect.DeepEqual(got, want) {
			t.Errorf("%s has %v, and openapi.json says %v", path, got, want)
		}
		for name, member := range v {
			d.checkMembers(t, path+"."+name, member, s.Properties[name])
		}
	case []any:
		for _, e := range v {
			d.checkMembers(t, path+"[]", e, *s.Items)
		}
	}
}

func TestDescriptionIsServed(t *testing.T) {
	h := start(t, script(), Config{APIKeys: []string{"key"}})
	resp := h.do("GET", "/openapi.json", "")
	if status, body := h.read(resp); status != 200 || body != string(openAPI) || resp.header.Get("Content-Type") != typeJSON {
		t.Errorf("%d, %d bytes of %s", status, len(body), resp.header.Get("Content-Type"))
	}
	// What is referred to is there.
	for _, m := range regexp.MustCompile(`"#/components/schemas/([^"]+)"`).FindAllStringSubmatch(string(openAPI), -1) {
		if _, there := described(t).Components.Schemas[m[1]]; !there {
			t.Errorf("there is no schema %s", m[1])
		}
	}
}
