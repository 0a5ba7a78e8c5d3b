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
	var got struct {
		Count  int
		IDs    []int32 `json:"tokens"`
		Prompt string
	}
	if err := json.Unmarshal([]byte(stdout), &got); err != nil || status != 0 || len(got.IDs) == 0 || got.Count != len(got.IDs) || got.Prompt != text {
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

// A conversation becomes what its template makes of it, given alone or with
// what else POST /tokenize takes.
func TestTokenizeChat(t *testing.T) {
	checkpoint := modeltest.Get(t, "qwen3")
	run := func(args ...string) (int, string, string) {
		return invoke(t, "", append([]string{"tokenize", "--model", checkpoint.Dir, "--chat"}, args...)...)
	}
	for _, chat := range checkpoint.Chats(t) {
		status, stdout, stderr := run("--render", string(chat.Messages))
		if status != 0 || stdout != chat.Rendered+"\n" {
			t.Errorf("status %d, %q, %q; want %q", status, stdout, stderr, chat.Rendered)
		}
		_, stdout, _ = run("--json", `{"messages": `+string(chat.Messages)+`, "add_generation_prompt": true}`)
		var got struct{ Prompt string }
		if err := json.Unmarshal([]byte(stdout), &got); err != nil || got.Prompt != chat.Rendered {
			t.Errorf("%q, want the prompt %q", stdout, chat.Rendered)
		}
		_, open, _ := run("--render", `{"messages": `+string(chat.Messages)+`, "add_generation_prompt": false}`)
		if open == chat.Rendered+"\n" || !strings.HasPrefix(chat.Rendered, strings.TrimSpace(open)) {
			t.Errorf("without the answer's header: %q, want a prefix of %q", open, chat.Rendered)
		}
	}
	for args, want := range map[string]string{
		`{`:               "not JSON",
		`{"mesages": []}`: `"mesages" is not known`,
		`{"add_generation_prompt": 1, "messages": []}`: `"add_generation_prompt" is not known or of the wrong type`,
		`[]`: "messages is empty",
	} {
		if status, _, stderr := run(args); status == 0 || !strings.Contains(stderr, want) {
			t.Errorf("%s: status %d, %q; want %q", args, status, stderr, want)
		}
	}
	if status, _, stderr := run("--decode", "--json", "--count", "1"); status != 2 || !strings.Contains(stderr, "leave out --decode") || !strings.Contains(stderr, "give one") {
		t.Errorf("status %d, %q", status, stderr)
	}
}
