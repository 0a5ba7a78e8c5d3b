package grammar

import "testing"

// What a source is made of is the same description, by its key.
func TestSource(t *testing.T) {
	for _, s := range []*Spec{
		Literal("a").At("x"), Regex("[a-z]+"), Schema([]byte(`{"type": "object"}`)).At("schema"), Rules("root ::= \"a\""), QuotedRules("root ::= \"a\""), JSONObject(), AnyText(),
		Until("</x>"), UntilFirst([]string{"a", "b"}, 1), WithoutAny([]string{"a", "b"}),
		Sequence(Literal("a").At("p"), Choice(Regex("b"), Repeat(AnyText(), 2, -1)), Sequence()).At("q"),
	} {
		again, err := FromSource(s.Source())
		if err != nil || again.Key() != s.Key() || again.Path() != s.Path() {
			t.Errorf("%+v became %+v, %v", s, again, err)
		}
	}
	deep := Source{Kind: byte(kindText)}
	for range maxParts {
		deep = Source{Kind: byte(kindSequence), Parts: []Source{deep}}
	}
	for name, s := range map[string]Source{
		"no kind": {}, "a kind there is not": {Kind: 'z'}, "nothing to repeat": {Kind: byte(kindRepeat)},
		"a literal with parts":  {Kind: byte(kindLiteral), Parts: []Source{{Kind: byte(kindText)}}},
		"a marker there is not": {Kind: byte(kindTrigger), Low: 1, Markers: []string{"a"}}, "too deep": deep,
	} {
		if got, err := FromSource(s); err == nil {
			t.Errorf("%s: %+v", name, got)
		}
	}
}
