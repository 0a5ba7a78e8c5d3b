package tokenize

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"sort"
	"strings"
	"sync"

	"github.com/troupe-llm/troupe/tokenize/jinja"
)

const (
	configFile       = "tokenizer_config.json"
	chatFile         = "chat_template.jinja"
	chatDir          = "additional_chat_templates"
	specialTokenFile = "special_tokens_map.json"
)

// specialNames are the tokens transformers hands to every template, if set.
var specialNames = []string{"bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token"}

// LoadChat reads a model's chat templates and the special tokens they write.
// chat_template.jinja and additional_chat_templates/*.jinja come before
// chat_template in tokenizer_config.json, which is a template or a list of named
// ones. A model without any gives ChatTemplates without names. A template that
// cannot be parsed is no error until it is used.
func LoadChat(fsys fs.FS) (*ChatTemplates, error) {
	c := &ChatTemplates{named: map[string]*chatTemplate{}, special: map[string]any{}}
	config, err := readObject(fsys, configFile)
	if err != nil {
		return nil, err
	}
	older, err := readObject(fsys, specialTokenFile)
	if err != nil {
		return nil, err
	}
	c.readSpecial(older)
	c.readSpecial(config)
	if err := c.readFiles(fsys); err != nil {
		return nil, err
	}
	if len(c.named) == 0 {
		if err := c.readConfig(config["chat_template"]); err != nil {
			return nil, fmt.Errorf("%s: chat_template: %w", configFile, err)
		}
	}
	c.arguments = &arguments{text: sync.OnceValue(c.TextArguments)}
	return c, nil
}

// readObject reads a JSON object; a file that is not there is an empty one.
func readObject(fsys fs.FS, name string) (map[string]json.RawMessage, error) {
	data, err := fs.ReadFile(fsys, name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	// Members nobody asks for may be what only Python's json reads, such as Infinity.
	o := map[string]json.RawMessage{}
	r := &reader{b: data}
	r.object(func(key []byte) {
		name := string(key)
		o[name] = r.raw()
	})
	if r.err != nil {
		return nil, fmt.Errorf("%s: %w", name, r.err)
	}
	return o, nil
}

// readSpecial takes the special tokens, written as a string or as an object
// with the string under content.
func (c *ChatTemplates) readSpecial(o map[string]json.RawMessage) {
	for _, name := range specialNames {
		c.readToken(name, o[name])
	}
	var named map[string]json.RawMessage
	if json.Unmarshal(o["extra_special_tokens"], &named) == nil {
		for name, raw := range named {
			c.readToken(name, raw)
		}
	}
	for name, raw := range o {
		if strings.HasSuffix(name, "_token") {
			c.readToken(name, raw)
		}
	}
}

func (c *ChatTemplates) readToken(name string, raw json.RawMessage) {
	var s string
	var added struct{ Content *string }
	switch {
	case len(raw) == 0 || string(raw) == "null":
	case json.Unmarshal(raw, &s) == nil:
		c.special[name] = s
	case json.Unmarshal(raw, &added) == nil && added.Content != nil:
		c.special[name] = *added.Content
	}
}

func (c *ChatTemplates) readFiles(fsys fs.FS) error {
	names, err := fs.Glob(fsys, chatDir+"/*.jinja")
	if err != nil {
		return err
	}
	for _, file := range append(names, chatFile) {
		src, err := fs.ReadFile(fsys, file)
		if errors.Is(err, fs.ErrNotExist) && file == chatFile {
			continue
		}
		if err != nil {
			return err
		}
		name := "default"
		if file != chatFile {
			name = strings.TrimSuffix(path.Base(file), ".jinja")
		}
		c.add(name, string(src))
	}
	return nil
}

func (c *ChatTemplates) readConfig(raw json.RawMessage) error {
	if len(raw) == 0 || string(raw) == "null" {
		return nil
	}
	var one string
	if json.Unmarshal(raw, &one) == nil {
		c.add("default", one)
		return nil
	}
	var many []struct{ Name, Template string }
	if err := json.Unmarshal(raw, &many); err == nil {
		for _, t := range many {
			c.add(t.Name, t.Template)
		}
		return nil
	}
	var byName map[string]string
	if err := json.Unmarshal(raw, &byName); err != nil {
		return errors.New("must be a template, or a list of {name, template}")
	}
	for name, src := range byName {
		c.add(name, src)
	}
	return nil
}

func (c *ChatTemplates) add(name, source string) {
	t := &chatTemplate{source: source}
	t.tmpl, t.err = jinja.Parse(name, source)
	c.named[name] = t
}

func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	sort.Strings(keys)
	return keys
}
