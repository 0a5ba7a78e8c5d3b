package http

import (
	"maps"
	"math/rand/v2"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/troupe-llm/troupe/http/internal/dialect"
	"github.com/troupe-llm/troupe/http/internal/dialect/jsonenc"
	"github.com/troupe-llm/troupe/http/internal/dialect/responses"
	"github.com/troupe-llm/troupe/tokenize/grammar"
	"github.com/troupe-llm/troupe/tokenize/reply"
)

// A patch as agents ask for it, in Lark's notation.
const patchRules = `start: begin change~1..3 end
begin: "*** Begin" LF
end: "*** End" LF?
change: ("+" | "-" | " ") /(.{0,9})/ LF -> line
%import common.LF
`

// A custom tool's grammar holds, however the family writes calls: any text that the
// request's grammar allows is read as a call whose input keeps to it.
func TestCustomToolsKeepToTheirGrammar(t *testing.T) {
	keeps := regexp.MustCompile(`^\*\*\* Begin\n([+\- ].*\n)+\*\*\* End\n?$`)
	vocabulary := byteVocabulary()
	rng := rand.New(rand.NewPCG(7, 8))
	all := maps.Clone(templates)
	all["pythonic"] = `{{ tools }}You should only return the function call in tools call sections. [func_name1(params_name1=params_value1`
	for _, family := range slices.Sorted(maps.Keys(all)) {
		eng := script()
		eng.template = all[family]
		s, err := newServer(Config{}, eng, zerologNop)
		if err != nil {
			t.Fatal(err)
		}
		for choice, least := range map[string]int{"required": 1, "auto": 0} {
			body := `{"input":"x","tool_choice":"` + choice + `","tools":[{"type":"custom","name":"patch","format":{"type":"grammar","syntax":"lark","definition":` +
				string(jsonenc.Quoted(nil, patchRules)) + `}}]}`
			c, fault := responses.Dialect{}.Decode(&dialect.Request{Model: &(*s.models.Load())[0].model, Body: []byte(body)})
			if fault != nil {
				t.Fatalf("%s: %v", family, fault)
			}
			spec := c.Requests[0].Grammar
			if spec == nil {
				if family != "none" || least > 0 {
					t.Errorf("%s, %s: there is no grammar", family, choice)
				}
				continue
			}
			g, err := grammar.Compile(t.Context(), spec, vocabulary)
			if err != nil {
				t.Fatalf("%s, %s: %v", family, choice, err)
			}
			for range 10 {
				text := wander(t, g, rng)
				var m reply.Message
				m.Add(reply.NewParser(c.Reply).Finish([]byte(text)))
				if len(m.Calls) < least {
					t.Errorf("%s: %.300q calls nothing", family, text)
				}
				for i := range m.Calls {
					if input := responses.CustomText(m.Calls[i].Arguments); !keeps.MatchString(input) {
						t.Errorf("%s: %.300q calls with %q", family, text, input)
					}
				}
			}
		}
	}
}

// What is wrong with a grammar is said by its place.
func TestCustomToolsGrammarIsRefused(t *testing.T) {
	for _, definition := range []string{"start: nothing", "other: \"a\"", "start: \"a"} {
		s := mustServer(t)
		c, fault := responses.Dialect{}.Decode(&dialect.Request{Model: &(*s.models.Load())[0].model, Body: []byte(`{"input":"x","tool_choice":"required","tools":[{"type":"custom","name":"p","format":{"type":"grammar","syntax":"lark","definition":` +
			string(jsonenc.Quoted(nil, definition)) + `}}]}`)})
		if fault != nil {
			t.Fatal(fault)
		}
		if _, err := grammar.Compile(t.Context(), c.Requests[0].Grammar, byteVocabulary()); err == nil || !strings.HasPrefix(err.Error(), "tools[0].format.definition: ") {
			t.Errorf("%s: %v", definition, err)
		}
	}
}
