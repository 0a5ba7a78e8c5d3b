package model

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// The hub states these totals for the published checkpoints.
func TestPublishedParameters(t *testing.T) {
	known := map[string]int64{
		"qwen3-0.6b": 596_049_920, "qwen3-1.7b": 1_720_574_976, "qwen3-4b": 4_022_468_096, "qwen3-8b": 8_190_735_360,
		"qwen3-14b": 14_768_307_200, "qwen3-32b": 32_762_123_264, "qwen2.5-0.5b": 494_032_768, "qwen2.5-7b": 7_615_616_512,
		"llama-3.1-8b": 8_030_261_248, "llama-3.2-1b": 1_235_814_400, "llama-3.2-3b": 3_212_749_824, "mistral-7b": 7_248_023_552, "mixtral-8x7b": 46_702_792_704,
		"qwen3-30b-a3b": 30_532_122_624, "gpt-oss-20b": 20_914_757_184, "glm-4-9b-0414": 9_400_279_040, "smollm3-3b": 3_075_098_624,
		"phi-4": 14_659_507_200, "granite-3.3-8b-instruct": 8_170_864_640, "olmo-3-7b": 7_298_011_136, "glm-4.5-air": 106_852_251_264, "minimax-m2": 228_689_764_864,
		"deepseek-v3": 671_026_419_200, "ministral-3-8b": 8_489_553_920,
		// The text model's, worked out: the hub counts what sees images, too.
		"gemma-3-12b": 11_766_034_176, "qwen3.5-9b": 8_953_803_264, "qwen3.5-35b-a3b": 34_660_610_688,
	}
	for _, name := range Published() {
		m, err := Open(name, true)
		if err != nil {
			t.Error(err)
			continue
		}
		if got := m.Config.Program.Params(); got != known[name] {
			t.Errorf("%s: %d parameters, want %d", name, got, known[name])
		}
		if m.Weights != nil || m.Files != nil || m.Name != name {
			t.Errorf("%s: got %+v", name, m)
		}
		for _, id := range append(m.Config.EOS, m.Config.BOS) {
			if id != -1 && (id < 0 || int(id) >= m.Config.Vocab) {
				t.Errorf("%s: token %d is outside the vocabulary", name, id)
			}
		}
	}
	if len(Published()) != len(known) {
		t.Errorf("published: %v", Published())
	}
}

func TestOpenNames(t *testing.T) {
	for _, name := range []string{"qwen3-0.6b", "Qwen3-0.6B", "Qwen/Qwen3-0.6B"} {
		if m, err := Open(name, true); err != nil || m.Name != "qwen3-0.6b" {
			t.Errorf("%s: %+v, %v", name, m, err)
		}
	}
	notDir := filepath.Join(t.TempDir(), "model.bin")
	if err := os.WriteFile(notDir, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		spec  string
		dummy bool
		is    error
		want  string
	}{
		{"qwen3-0.6b", false, nil, `"qwen3-0.6b" is a published configuration without its weights`},
		{"qwen3-30b-a3b", false, nil, `"qwen3-30b-a3b" is a published configuration without its weights`},
		{"qwen3-0.5b", true, fs.ErrNotExist, `did you mean "qwen3-0.6b"?`},
		{"qwen-3-14b", false, fs.ErrNotExist, `did you mean "qwen3-14b"?`},
		{"buitlin", false, fs.ErrNotExist, `did you mean "builtin"?`},
		{"gpt-5", true, fs.ErrNotExist, `no model "gpt-5"`},
		{"gpt-5", true, fs.ErrNotExist, "llama-3.2-1b, llama-3.2-3b, mistral-7b, mixtral-8x7b, gpt-oss-20b"},
		{"./nowhere", true, fs.ErrNotExist, "model directory ./nowhere: "},
		{"/nowhere/model", false, fs.ErrNotExist, "model directory /nowhere/model: "},
		{"", false, fs.ErrNotExist, "model directory"},
		{notDir, false, nil, "is a file; a model is the directory"},
		{"./nothing.gguf", false, fs.ErrNotExist, "model ./nothing.gguf: "},
	} {
		_, err := Open(tc.spec, tc.dummy)
		if err == nil || !strings.Contains(err.Error(), tc.want) || (tc.is != nil && !errors.Is(err, tc.is)) {
			t.Errorf("%q: error %v, want %q (a %v)", tc.spec, err, tc.want, tc.is)
		}
	}
	if _, err := Open("gpt-5", true); strings.Contains(err.Error(), "mean") {
		t.Errorf("a far name gets a suggestion: %v", err)
	}
}

func TestEdits(t *testing.T) {
	for _, tc := range []struct {
		a, b string
		want int
	}{{"", "", 0}, {"", "abc", 3}, {"abc", "", 3}, {"abc", "abc", 0}, {"kitten", "sitting", 3}, {"ab", "ba", 2}} {
		if got := edits(tc.a, tc.b); got != tc.want {
			t.Errorf("edits(%q, %q) = %d, want %d", tc.a, tc.b, got, tc.want)
		}
	}
}
