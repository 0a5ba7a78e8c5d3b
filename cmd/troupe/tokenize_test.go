package main

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/troupe-llm/troupe/gpu/model/modeltest"
)

func TestTokenizeThereAndBack(t *testing.T) {
	checkpoint := modeltest.Get(t, "qwen3")
	const text = "Once upon a time,\n  naïve"
	status, stdout, stderr := invoke(t, text, "tokenize", "--model", checkpoint.Dir, "--json")
	var got struct{ IDs []int32 }
	if err := json.Unmarshal([]byte(stdout), &got); err != nil || status != 0 || len(got.IDs) == 0 {
		t.Fatalf("status %d, %q, %q", status, stdout, stderr)
	}
	ids := strings.Trim(fmt.Sprint(got.IDs), "[]")
	if _, stdout, _ := invoke(t, "", "tokenize", "--model", checkpoint.Dir, text); stdout != ids+"\n" {
		t.Errorf("ids %q, want %q", stdout, ids)
	}
	if _, stdout, _ := invoke(t, ids, "tokenize", "--model", checkpoint.Dir, "--decode"); stdout != text+"\n" {
		t.Errorf("decoded %q, want %q", stdout, text)
	}
	if _, stdout, _ := invoke(t, text, "tokenize", "--model", checkpoint.Dir, "--count"); stdout != fmt.Sprintln(len(got.IDs)) {
		t.Errorf("counted %q, want %d", stdout, len(got.IDs))
	}
	_, stdout, _ = invoke(t, text, "tokenize", "--model", checkpoint.Dir, "--pieces")
	var pieces []byte
	for line := range strings.Lines(stdout) {
		var id int
		var piece string
		if _, err := fmt.Sscanf(line, "%d %q", &id, &piece); err != nil || !slices.Contains(got.IDs, int32(id)) {
			t.Fatalf("piece %q: %v", line, err)
		}
		pieces = append(pieces, piece...)
	}
	if string(pieces) != text {
		t.Errorf("pieces make up %q, want %q", pieces, text)
	}
	status, _, stderr = invoke(t, "", "tokenize", "--model", checkpoint.Dir, "--decode", "5", "x")
	if status != 2 || !strings.Contains(stderr, `"x" is no token id`) {
		t.Errorf("status %d, %q", status, stderr)
	}
}
