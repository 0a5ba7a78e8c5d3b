package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"strings"
)

// Saved is a conversation in a file.
type Saved struct {
	Model    string    `json:"model"` // that it was had with
	Messages []Message `json:"messages"`
}

var roles = []string{"system", "user", "assistant"}

// readSaved reads a conversation and checks it.
func readSaved(file string) (*Saved, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var c Saved
	d := json.NewDecoder(f)
	d.DisallowUnknownFields()
	if err := d.Decode(&c); err != nil {
		return nil, fmt.Errorf("%s is no saved conversation: %w", file, err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("%s is no saved conversation: there is more after it", file)
	}
	for i, m := range c.Messages {
		if !slices.Contains(roles, m.Role) || (m.Role == "system") != (i == 0 && m.Role == "system") {
			return nil, fmt.Errorf("%s: message %d is of %q; it must be of user or assistant, the first perhaps of system", file, i+1, m.Role)
		}
	}
	return &c, nil
}

// save writes the conversation to a file, which may be one that was saved.
func (s *session) save(name string) {
	file := s.env.expand(name)
	if file == "" {
		s.tell("say where to: /save FILE")
		return
	}
	if _, err := readSaved(file); err != nil && !errors.Is(err, fs.ErrNotExist) {
		s.tell("%v: nothing was written", err)
		return
	}
	var data bytes.Buffer
	err := printJSON(&data, Saved{s.client.model, append([]Message{}, s.messages...)})
	if err == nil {
		err = os.WriteFile(file, data.Bytes(), 0o600)
	}
	if err != nil {
		s.tell("%v", err)
		return
	}
	s.tell("%s saved in %s", plural(len(s.messages), "message"), file)
}

// load goes on with a conversation from a file.
func (s *session) load(name string) {
	if name == "" {
		s.tell("say where from: /load FILE")
		return
	}
	c, err := readSaved(s.env.expand(name))
	if err != nil {
		s.tell("%v", err)
		return
	}
	system := ""
	if len(c.Messages) > 0 && c.Messages[0].Role == "system" {
		system = c.Messages[0].Content
	}
	s.reset(system)
	s.messages = c.Messages
	s.tell("%s loaded", plural(len(c.Messages), "message"))
	if c.Model != s.client.model && c.Model != "" {
		s.note("it was had with %s", c.Model)
	}
	if n := len(c.Messages); n > 0 {
		last := c.Messages[n-1]
		s.note("the last, of %s: %s", last.Role, shortened(last.Content, 200))
	}
}

// shortened is the beginning of a text, in one line.
func shortened(text string, letters int) string {
	runes := []rune(strings.Join(strings.Fields(text), " "))
	if len(runes) <= letters {
		return string(runes)
	}
	return string(runes[:letters-1]) + "…"
}

func plural(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

func isDir(name string) bool {
	info, err := os.Stat(name)
	return err == nil && info.IsDir()
}
