package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

// A conversation is saved, loaded, gone on with and answered anew.
func TestChatSavesAndLoads(t *testing.T) {
	p := newParrot(t)
	home := t.TempDir()
	env := environ{"HOME": home}
	saved := filepath.Join(home, "fox & hen.json")
	input := "first\n/save ~/fox & hen.json\n/regenerate\n/clear\n/regenerate\n/load ~/fox & hen.json\nsecond\n/save " + saved + "\n/show\n"
	status, stdout, stderr := invokeIn(t, env, input, "chat", "--url", strings.TrimPrefix(p.URL, "http://"), "--system", "rules", "--seed", "7")
	if status != 0 || stderr != "" {
		t.Fatalf("status %d, %q", status, stderr)
	}
	want := [][]string{
		{"system: rules", "user: first"},
		{"system: rules", "user: first"},
		{"system: rules", "user: first", "assistant: first", "user: second"},
	}
	if len(p.asked) != len(want) {
		t.Fatalf("%d replies asked for, want %d", len(p.asked), len(want))
	}
	for i := range want {
		if got := said(p.asked[i]); !reflect.DeepEqual(got, want[i]) {
			t.Errorf("request %d said %q, want %q", i, got, want[i])
		}
	}
	for _, text := range []string{
		"3 messages saved in " + saved, "nothing was asked yet", "3 messages loaded", "5 messages saved",
		"model     polly at " + p.URL + "/v1", "so far    5 messages, 7 tokens", "seed         7",
	} {
		if !strings.Contains(stdout, text) {
			t.Errorf("no %q in what it said:\n%s", text, stdout)
		}
	}
	data, err := os.ReadFile(saved)
	var c Saved
	if err != nil || json.Unmarshal(data, &c) != nil || c.Model != "polly" || len(c.Messages) != 5 || c.Messages[4] != (Message{"assistant", "second"}) {
		t.Errorf("saved %s, %v", data, err)
	}
}

// What cannot be loaded changes nothing, and what is no conversation is not
// written over.
func TestChatRefusesFiles(t *testing.T) {
	p := newParrot(t)
	dir := t.TempDir()
	write := func(name, text string) string {
		name = filepath.Join(dir, name)
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return name
	}
	for name, c := range map[string]struct{ file, want string }{
		"none":     {filepath.Join(dir, "none"), "no such file"},
		"no JSON":  {write("a", "hello"), "is no saved conversation: invalid character"},
		"more":     {write("b", `{"messages": []} {}`), "there is more after it"},
		"a field":  {write("c", `{"messages": [], "mood": "good"}`), `unknown field "mood"`},
		"a role":   {write("d", `{"messages": [{"role": "tool", "content": "x"}]}`), `message 1 is of "tool"`},
		"a system": {write("e", `{"messages": [{"role": "user", "content": "x"}, {"role": "system", "content": "x"}]}`), `message 2 is of "system"`},
		"no name":  {"", "say where from: /load FILE"},
	} {
		before := len(p.asked)
		_, stdout, _ := invoke(t, "kept\n/load "+c.file+"\nnext\n", "chat", "--url", p.URL)
		if !strings.Contains(stdout, c.want) {
			t.Errorf("%s: %s, want %q", name, stdout, c.want)
		}
		if got := said(p.asked[before+1]); len(got) != 3 || got[0] != "user: kept" {
			t.Errorf("%s: the conversation is %q after that", name, got)
		}
	}
	file := write("precious", "precious")
	if _, stdout, _ := invoke(t, "/save "+file+"\n", "chat", "--url", p.URL); !strings.Contains(stdout, "nothing was written") {
		t.Error(stdout)
	}
	if data, err := os.ReadFile(file); string(data) != "precious" {
		t.Errorf("%s, %v", data, err)
	}
}

// A reply that fails leaves the conversation as it was.
func TestRegenerateKeepsWhatWasThere(t *testing.T) {
	p := newParrot(t)
	c, err := reach(t.Context(), &Remote{URL: p.URL})
	if err != nil {
		t.Fatal(err)
	}
	had := []Message{{"user", "fail"}, {"assistant", "well"}}
	var out strings.Builder
	s := &session{client: c, sampling: &Sampling{}, out: &out, terminal: true, messages: had}
	if _, err := s.command(t.Context(), "/regenerate"); err != nil || !reflect.DeepEqual(s.messages, had) || !strings.Contains(out.String(), "no such words") {
		t.Errorf("%v, %v, %q", err, s.messages, out.String())
	}
}

func TestChatCompletions(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"one.json", "two.json"} {
		if err := os.WriteFile(filepath.Join(dir, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Mkdir(filepath.Join(dir, "old"), 0o700); err != nil {
		t.Fatal(err)
	}
	s := &session{sampling: &Sampling{}, env: environ{"HOME": dir}}
	if got, want := s.files("~/o"), []string{"~/old/", "~/one.json"}; !reflect.DeepEqual(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
	if got := s.files("["); got != nil {
		t.Errorf("%q", got)
	}
}

// Run takes the model as its argument, and with a prompt gives one reply.
func TestRun(t *testing.T) {
	env, _ := tinyHub(t)
	status, stdout, stderr := invokeIn(t, env, "", "run", "--device", "cpu", "-n", "3", "acme/tiny", "hello", "there")
	if status != 0 || stdout == "" || stderr != "" {
		t.Errorf("status %d, %q, %q", status, stdout, stderr)
	}
	env["TROUPE_MODEL"] = "acme/none" // which the argument comes before
	status, stdout, stderr = invokeIn(t, env, "hello\n/show\n", "run", "--device", "cpu", "-n", "3", "acme/tiny")
	if status != 0 || !strings.Contains(stdout, "model     acme/tiny in this process") || stderr != "" {
		t.Errorf("status %d, %q, %q", status, stdout, stderr)
	}
	if status, _, stderr := invokeIn(t, env, "hello\n", "run", "--device", "cpu", "acme/bare"); status != 1 || !strings.Contains(stderr, "the checkpoint has no tokenizer.json") {
		t.Errorf("status %d, %q of a model without a tokenizer", status, stderr)
	}
}
