package tokenize

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// config is what stands beside tokenizer.json: in tokenizer_config.json and, of
// older models, in special_tokens_map.json and added_tokens.json.
type config struct {
	bos, eos string
	cleanUp  bool
	listed   []addedToken // added_tokens_decoder, by id: their flags count before tokenizer.json's
	older    []addedToken // added_tokens.json, by id
	named    []addedToken // bos_token and the others with a name, then those without: all special
}

const addedTokenFile = "added_tokens.json"

// readConfig reads those files; a missing one is empty. As transformers does, it
// looks at the older ones only where tokenizer_config.json lists no tokens.
func readConfig(fsys fs.FS) (config, error) {
	var c config
	raw, err := readObject(fsys, configFile)
	if err != nil {
		return c, err
	}
	// transformers ignores the first flag alone for BPE, as it was meant for
	// WordPiece and eats spaces the model wrote.
	c.cleanUp = isTrue(raw["clean_up_tokenization_spaces"]) &&
		isTrue(raw["clean_up_tokenization_spaces_for_bpe_even_though_it_will_corrupt_output"])
	if listed, ok := raw["added_tokens_decoder"]; ok && string(listed) != "null" {
		if c.listed, err = listedTokens(listed); err != nil {
			return c, fmt.Errorf("%s: added_tokens_decoder: %w", configFile, err)
		}
		return c, c.readNamed(raw)
	}
	older, err := readObject(fsys, specialTokenFile)
	if err != nil {
		return c, err
	}
	all := map[string]json.RawMessage{}
	maps.Copy(all, raw)
	maps.Copy(all, older)
	if err := c.readNamed(all); err != nil {
		return c, err
	}
	added, err := readObject(fsys, addedTokenFile)
	if err == nil {
		c.older, err = olderTokens(added)
	}
	return c, err
}

func isTrue(raw json.RawMessage) bool { return string(raw) == "true" }

// listedTokens reads {"id": {"content": …}, …}.
func listedTokens(raw json.RawMessage) ([]addedToken, error) {
	var byID map[string]tokenFlags
	if err := json.Unmarshal(raw, &byID); err != nil {
		return nil, err
	}
	var list []addedToken
	for key, t := range byID {
		id, err := strconv.ParseInt(key, 10, 32)
		if err != nil {
			return nil, fmt.Errorf("%.40q is no token id", key)
		}
		list = append(list, t.token(int32(id)))
	}
	return byNumber(list), nil
}

// olderTokens reads {"content": id, …}.
func olderTokens(raw map[string]json.RawMessage) ([]addedToken, error) {
	var list []addedToken
	for content, id := range raw {
		var n int32
		if err := json.Unmarshal(id, &n); err != nil {
			return nil, fmt.Errorf("%s: %.40q has the id %.40s", addedTokenFile, content, id)
		}
		list = append(list, addedToken{ID: n, Content: content, Normalized: true})
	}
	return byNumber(list), nil
}

func byNumber(list []addedToken) []addedToken {
	slices.SortFunc(list, func(a, b addedToken) int {
		return cmp.Or(cmp.Compare(a.ID, b.ID), strings.Compare(a.Content, b.Content))
	})
	return list
}

// readNamed takes the tokens that have a part to play.
func (c *config) readNamed(raw map[string]json.RawMessage) error {
	take := func(name string, value json.RawMessage) (string, error) {
		var t tokenFlags
		if err := json.Unmarshal(value, &t); err != nil {
			return "", fmt.Errorf("%s: %s: %w", configFile, name, err)
		}
		if t.Content != "" {
			t.Special = true
			c.named = append(c.named, t.token(-1))
		}
		return t.Content, nil
	}
	var errs []error
	for _, name := range specialNames {
		if value, ok := raw[name]; ok {
			content, err := take(name, value)
			errs = append(errs, err)
			switch name {
			case "bos_token":
				c.bos = content
			case "eos_token":
				c.eos = content
			}
		}
	}
	for _, name := range []string{"additional_special_tokens", "extra_special_tokens"} {
		var list []json.RawMessage
		if json.Unmarshal(raw[name], &list) == nil {
			for _, value := range list {
				_, err := take(name, value)
				errs = append(errs, err)
			}
			continue
		}
		var byName map[string]json.RawMessage
		if json.Unmarshal(raw[name], &byName) == nil {
			for _, key := range sortedKeys(byName) {
				_, err := take(name, byName[key])
				errs = append(errs, err)
			}
		}
	}
	return errors.Join(errs...)
}

// tokenFlags is a token given as "x" or as {"content": "x", …}.
type tokenFlags struct {
	Content    string
	SingleWord bool `json:"single_word"`
	LStrip     bool
	RStrip     bool
	Normalized *bool
	Special    bool
}

func (t *tokenFlags) UnmarshalJSON(b []byte) error {
	if len(b) > 0 && b[0] == '{' {
		type plain tokenFlags
		return json.Unmarshal(b, (*plain)(t))
	}
	return json.Unmarshal(b, &t.Content)
}

func (t *tokenFlags) token(id int32) addedToken {
	a := addedToken{ID: id, Content: t.Content, SingleWord: t.SingleWord, LStrip: t.LStrip, RStrip: t.RStrip, Special: t.Special, Normalized: !t.Special}
	if t.Normalized != nil {
		a.Normalized = *t.Normalized
	}
	return a
}

// complete adds to tokenizer.json's added tokens those that only the files beside it
// know. As in transformers, one that the vocabulary has keeps its id there, and
// others get the next ones, whatever id they are listed with.
func (c *config) complete(tokens []addedToken, v *vocab) []addedToken {
	tokens = slices.Clone(tokens)
	at := map[string]int{}
	next := int32(v.count)
	for i, t := range tokens {
		at[t.Content] = i
		next = max(next, t.ID+1)
	}
	isNamed := map[string]bool{}
	for _, t := range c.named {
		isNamed[t.Content] = true
	}
	add := func(t addedToken, override bool) {
		if t.Content == "" {
			return
		}
		t.Special = t.Special || isNamed[t.Content]
		if i, ok := at[t.Content]; ok {
			if override {
				t.ID = tokens[i].ID
				tokens[i] = t
			}
			return
		}
		id, ok := v.lookup([]byte(t.Content))
		if !ok {
			for v.bytes(next) != nil {
				next++
			}
			id = next
			next++
		}
		t.ID = id
		at[t.Content] = len(tokens)
		tokens = append(tokens, t)
	}
	for _, t := range c.listed {
		add(t, true)
	}
	for _, t := range c.older {
		if isNamed[t.Content] {
			t.Normalized = false
		}
		add(t, false)
	}
	for _, t := range c.named {
		add(t, false)
	}
	return tokens
}
