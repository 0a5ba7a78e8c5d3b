package bench

import (
	"strings"
	"testing"

	"github.com/troupe-llm/troupe/gpu/model"
	"github.com/troupe-llm/troupe/tokenize"
)

func TestTextsHaveTheirTokens(t *testing.T) {
	m, err := model.Open(model.Builtin, true)
	if err != nil {
		t.Fatal(err)
	}
	codec, err := tokenize.Load(m.Files)
	if err != nil {
		t.Fatal(err)
	}
	prompts := RandomPrompts(3, 300, Range{1, 400}, Range{1, 1}, 1<<30)
	prompts = append(prompts, prompts[299])
	prompts[300].Tokens = append(prompts[300].Tokens[:0:0], prompts[299].Tokens...)
	prompts[300].Tokens = append(prompts[300].Tokens, 5, 6, 7, 8)
	all, err := AsTexts(codec, AtOnce(prompts))
	if err != nil {
		t.Fatal(err)
	}
	for i, a := range all {
		if n := len(codec.Encode(a.Text, false)); n != len(prompts[i].Tokens) {
			t.Errorf("the text of prompt %d has %d tokens, want %d", i, n, len(prompts[i].Tokens))
		}
	}
	short, long := all[299].Text, all[300].Text
	if !strings.HasPrefix(long, short[:len(short)/2]) {
		t.Error("prompts that share tokens do not share texts")
	}
}

type noCodec struct{}

func (noCodec) Encode(string, bool) []int32 { return []int32{1, 2, 3} }
func (noCodec) Decode([]int32, bool) string { return "x" }
func (noCodec) Vocab() int                  { return 4 }

func TestTextsThatCannotBe(t *testing.T) {
	if _, err := AsTexts(noCodec{}, AtOnce([]Prompt{{Tokens: []int32{1}}, {Tokens: []int32{1, 2, 3, 4}}})); err == nil {
		t.Error("no error for a length that cannot be reached")
	}
}
