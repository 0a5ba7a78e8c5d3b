package grammar

import (
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/troupe-llm/troupe/tokenize"
)

// qwen is Qwen3's vocabulary, from the fixtures beside the repository.
var qwen = sync.OnceValues(func() (*tokenize.Tokenizer, error) {
	dir := os.Getenv("TROUPE_FIXTURES")
	if dir == "" {
		dir = filepath.Join("..", "..", "..", "shared", "fixtures")
	}
	return tokenize.Load(os.DirFS(filepath.Join(dir, "tokenizers", "qwen3")))
})

func qwenVocabulary(t testing.TB) (*tokenize.Tokenizer, *Vocabulary) {
	tok, err := qwen()
	if err != nil {
		t.Skipf("Qwen3's vocabulary is not there: %v", err)
	}
	eos, _ := tok.TokenID("<|im_end|>")
	return tok, NewVocabulary(151_936, func(id int32) []byte {
		if int(id) >= tok.Vocab() || tok.IsSpecial(id) {
			return nil
		}
		return tok.TokenBytes(id)
	}, []int32{eos})
}

const personSchema = `{
	"type": "object",
	"properties": {
		"name": {"type": "string", "minLength": 1, "maxLength": 60},
		"age": {"type": "integer", "minimum": 0, "maximum": 150},
		"email": {"type": "string", "format": "email"},
		"tags": {"type": "array", "items": {"enum": ["a", "b", "c"]}, "maxItems": 5},
		"address": {"$ref": "#/$defs/address"}
	},
	"required": ["name", "age", "email", "tags", "address"],
	"additionalProperties": false,
	"$defs": {"address": {
		"type": "object",
		"properties": {"street": {"type": "string"}, "city": {"type": "string"}, "zip": {"type": "string", "pattern": "^[0-9]{5}$"}},
		"required": ["street", "city"]
	}}
}`

const personText = `{"name": "Ada Lovelace", "age": 36, "email": "ada@example.org", "tags": ["a", "c"], "address": {"street": "12 St James's Square \"north\"", "city": "London, Großbritannien 日本", "zip": "12345"}}`

const anyObjectText = `{"name": "Ada Lovelace", "born": 1815, "works": [{"title": "Notes on the \"Analytical Engine\"", "pages": 66.5}, {"title": "Letters\n", "lost": true}], "nested": {"a": {"b": {"c": [1, 2, [3, null]]}}}}`

// cpuTime is the processor time of this process, which other work on a shared
// machine stretches less than the clock's.
func cpuTime() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		panic(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// benchMasks asks for all masks of a text, `times` times a round. It reports
// the processor time of a mask in the best round: other work on the machine
// only ever slows one down.
func benchMasks(b *testing.B, spec *Spec, text string, anew bool, times int) {
	tok, v := qwenVocabulary(b)
	ids := tok.Encode(text, false)
	g, err := Compile(b.Context(), spec, v)
	if err != nil {
		b.Fatal(err)
	}
	round := func() {
		if anew {
			g.begin()
		}
		m := g.Matcher()
		for i := range len(ids) + 1 {
			m.Allow(ids[:i])
		}
		if m.Err() != nil || !g.a.states[m.at].accepts {
			b.Fatal("the text was not let through", m.Err())
		}
	}
	round()
	best := time.Duration(1 << 62)
	b.ReportAllocs()
	for b.Loop() {
		began := cpuTime()
		for range times {
			round()
		}
		best = min(best, cpuTime()-began)
	}
	b.ReportMetric(float64(best.Nanoseconds())/float64(times*(len(ids)+1)), "cpu-ns/mask")
	b.ReportMetric(float64(g.a.memory)/1e6, "MB")
}

func BenchmarkMask(b *testing.B) {
	for _, c := range []struct {
		name string
		spec *Spec
		text string
	}{
		{"person", Schema([]byte(personSchema)), personText},
		{"object", JSONObject(), anyObjectText},
		{"regex", Regex(`[A-Za-z0-9 ]{1,200}!`), "The quick brown fox jumps over the lazy dog 12 times!"},
		{"text", Regex(`(?s).*`), "The quick brown fox jumps over the lazy dog 12 times!"},
	} {
		b.Run(c.name+"/cold", func(b *testing.B) { benchMasks(b, c.spec, c.text, true, 1) })
		b.Run(c.name+"/kept", func(b *testing.B) { benchMasks(b, c.spec, c.text, false, 1000) })
	}
}

// BenchmarkStep is what the scheduler asks for a step of 256 requests, each
// somewhere else in its text, when all masks are known.
func BenchmarkStep(b *testing.B) {
	tok, v := qwenVocabulary(b)
	ids := tok.Encode(personText, false)
	g, err := Compile(b.Context(), Schema([]byte(personSchema)), v)
	if err != nil {
		b.Fatal(err)
	}
	matchers := make([]*Matcher, 256)
	lengths := make([]int, len(matchers))
	for i := range matchers {
		matchers[i], lengths[i] = g.Matcher(), i%len(ids)
	}
	for m, n := g.Matcher(), 0; n <= len(ids); n++ {
		m.Allow(ids[:n])
	}
	b.ReportAllocs()
	for b.Loop() {
		for i, m := range matchers {
			if lengths[i]++; lengths[i] > len(ids) {
				lengths[i], *m = 0, *g.Matcher()
			}
			out := ids[:lengths[i]]
			if !m.Known(out) || m.Allow(out) == nil {
				b.Fatal("a mask is not known")
			}
		}
	}
}

func BenchmarkCompile(b *testing.B) {
	_, v := qwenVocabulary(b)
	for b.Loop() {
		if _, err := Compile(b.Context(), Schema([]byte(personSchema)), v); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkVocabulary(b *testing.B) {
	for b.Loop() {
		qwenVocabulary(b)
	}
}
