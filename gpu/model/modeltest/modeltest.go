// Package modeltest gives tests small checkpoints with known outputs: those in
// gpu/model/testdata, one per architecture, and more beside the repository
// when they are there (../shared/fixtures/models, or TROUPE_FIXTURES/models).
// testdata/generate.py says how references are made.
package modeltest

import (
	"bufio"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/troupe-llm/troupe/gpu/model"
	"github.com/troupe-llm/troupe/gpu/program"
)

// Checkpoint is a directory with a checkpoint and its references.
type Checkpoint struct {
	Name string // unique among all: "qwen3", …, "fixtures/qwen3-tied", …
	Dir  string
}

// Reference is what transformers computes in float32.
type Reference struct {
	Cases []Case `json:"cases"`
}

// Case is one prompt and its greedy continuation.
type Case struct {
	PromptIDs      []int32   `json:"prompt_ids"`
	LastLogits     []float32 `json:"last_logits"` // after the prompt, one per vocabulary entry
	GreedyIDs      []int32   `json:"greedy_ids"`  // stop tokens do not stop it
	GreedyText     string    `json:"greedy_text"` // without special tokens
	GreedyLogprobs []float32 `json:"greedy_logprobs"`
	// GreedyMargins is, per greedy token, best minus second best logit; Margins
	// is the same in references of families. Some have neither.
	GreedyMargins []float32 `json:"greedy_margins"`
	Margins       []float32 `json:"margins"`
	// MinMargin is the smallest margin: at least 0.01 in the repository's own.
	// Below about 0.002 a greedy difference proves nothing.
	MinMargin float32 `json:"min_margin"`
}

// Margin is what is known of a greedy token's.
func (c *Case) Margin(at int) float32 {
	for _, margins := range [][]float32{c.Margins, c.GreedyMargins} {
		if len(margins) > at {
			return margins[at]
		}
	}
	return c.MinMargin
}

// Certain is how many leading greedy tokens are the best by more than a tie:
// behind the first that is not, others may follow.
func (c *Case) Certain(tie float32) int {
	for i := range c.GreedyIDs {
		if c.Margin(i) <= tie {
			return i
		}
	}
	return len(c.GreedyIDs)
}

// Vector is a tokenizer case.
type Vector struct {
	Text       string  `json:"text"`
	IDs        []int32 `json:"ids"`         // no special tokens added
	Decoded    string  `json:"decoded"`     // special tokens kept
	SpecialIDs []int32 `json:"special_ids"` // special tokens added; only in the repository's own
}

// Chat is a chat template case, with add_generation_prompt.
type Chat struct {
	Messages json.RawMessage `json:"messages"`
	Rendered string          `json:"rendered"`
}

// All returns every checkpoint that can be opened, and logs when those beside
// the repository are absent.
func All(t testing.TB) []Checkpoint {
	t.Helper()
	list := Own(t)
	if dir, ok := Fixtures(); ok {
		return append(list, scan(t, filepath.Join(dir, "models"), "fixtures/")...)
	}
	t.Log("only the repository's checkpoints: ../shared/fixtures is not there")
	return list
}

// Families returns small checkpoints of further families, the repository's own
// ("own-families/…") and those beside it ("families/…"), as far as they can be
// opened. They have no texts.
func Families(t testing.TB) []Checkpoint {
	t.Helper()
	list := scan(t, filepath.Join(root(), "gpu", "model", "testdata", "families"), "own-families/")
	if dir, ok := Fixtures(); ok {
		return append(list, scan(t, filepath.Join(dir, "families"), "families/")...)
	}
	t.Log("only the repository's families: ../shared/fixtures is not there")
	return list
}

// Own returns the repository's own checkpoints.
func Own(t testing.TB) []Checkpoint {
	t.Helper()
	return scan(t, filepath.Join(root(), "gpu", "model", "testdata"), "")
}

// Get returns the checkpoint of that name, one of the repository's own: qwen3
// (tied head), qwen3-sharded (untied, heads of 128), qwen3moe, qwen2, llama3,
// mistral.
func Get(t testing.TB, name string) Checkpoint {
	t.Helper()
	for _, c := range Own(t) {
		if c.Name == name {
			return c
		}
	}
	t.Fatalf("no checkpoint %q in gpu/model/testdata", name)
	return Checkpoint{}
}

// Fixtures returns the folder of larger fixtures beside the repository, and
// whether it is there.
func Fixtures() (string, bool) {
	dir := os.Getenv("TROUPE_FIXTURES")
	if dir == "" {
		dir = filepath.Join(root(), "..", "shared", "fixtures")
	}
	info, err := os.Stat(dir)
	return dir, err == nil && info.IsDir()
}

// Open opens the checkpoint until the test ends.
func (c Checkpoint) Open(t testing.TB) *model.Model {
	t.Helper()
	m, err := model.Open(c.Dir, false)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := m.Close(); err != nil {
			t.Error(err)
		}
	})
	return m
}

// Reference loads the checkpoint's outputs.
func (c Checkpoint) Reference(t testing.TB) Reference {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(c.Dir, "reference.json"))
	if err != nil {
		t.Fatal(err)
	}
	var r Reference
	if err := json.Unmarshal(data, &r); err != nil {
		t.Fatal(err)
	}
	if len(r.Cases) == 0 {
		t.Fatalf("%s: reference.json has no cases", c.Dir)
	}
	return r
}

// Adjust makes an opened checkpoint what its references were made of, and leaves
// out cases that one device cannot serve beside the others.
func (c Checkpoint) Adjust(m *model.Model, ref *Reference) {
	switch {
	case strings.HasPrefix(c.Name, "families/gemma3"):
		// Who made them scaled the factor of embeddings, too, when they scaled those.
		m.Config.Program.Ops[0].(*program.Embed).Scale /= 10
	case strings.HasSuffix(c.Name, "families/phi3"):
		// Transformers takes each sequence's frequencies by its own length, and
		// changes them when it grows; here a device has those of its longest.
		ref.Cases = slices.DeleteFunc(ref.Cases, func(c Case) bool { return len(c.PromptIDs) <= 64 })
	}
}

// Vectors loads the tokenizer cases.
func (c Checkpoint) Vectors(t testing.TB) []Vector {
	t.Helper()
	return lines[Vector](t, filepath.Join(c.Dir, "vectors.jsonl"))
}

// Chats loads the chat template cases; only the repository's own checkpoints
// have some.
func (c Checkpoint) Chats(t testing.TB) []Chat {
	t.Helper()
	return lines[Chat](t, filepath.Join(c.Dir, "chat.jsonl"))
}

func lines[T any](t testing.TB, path string) []T {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var list []T
	dec := json.NewDecoder(bufio.NewReader(f))
	for dec.More() {
		var v T
		if err := dec.Decode(&v); err != nil {
			t.Fatalf("%s: record %d: %v", path, len(list)+1, err)
		}
		list = append(list, v)
	}
	return list
}

// scan lists the checkpoints in dir, leaving out architectures that no device
// runs.
func scan(t testing.TB, dir, prefix string) []Checkpoint {
	t.Helper()
	found, err := filepath.Glob(filepath.Join(dir, "*", "reference.json"))
	if err != nil || len(found) == 0 {
		t.Fatalf("no checkpoints in %s", dir)
	}
	var list []Checkpoint
	for _, path := range found {
		c := Checkpoint{Dir: filepath.Dir(path)}
		c.Name = prefix + filepath.Base(c.Dir)
		if _, err := model.Open(c.Dir, true); errors.Is(err, model.ErrUnsupported) {
			t.Logf("left out: %v", err)
			continue
		}
		list = append(list, c)
	}
	return list
}

// root is the repository's root, seen from this file.
func root() string {
	_, file, _, _ := runtime.Caller(0)
	return filepath.Join(filepath.Dir(file), "..", "..", "..")
}
