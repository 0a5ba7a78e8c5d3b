package bench

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
)

// Served is what a server says of a model that it serves.
type Served struct {
	Name   string
	MaxLen int // tokens of a prompt and its reply together; 0: it does not say
	Vocab  int // token ids are below it; 0: it does not say
}

// Served asks the server about c.Model, or about the first model that it lists.
// Troupe, vLLM and SGLang tell how long requests may be; the vocabulary Troupe
// and llama.cpp.
func (c *Client) Served(ctx context.Context) (Served, error) {
	late := fmt.Errorf("%s/models: no answer in %v", c.Base, c.patience)
	ctx, cancel := context.WithTimeoutCause(ctx, c.patience, late)
	defer cancel()
	resp, err := c.do(ctx, http.MethodGet, c.Base+"/models", nil)
	if err != nil {
		if errors.Is(context.Cause(ctx), late) {
			err = late
		}
		return Served{}, err
	}
	defer resp.Body.Close()
	type card struct {
		ID     string `json:"id"`
		MaxLen int    `json:"max_model_len"`
		Vocab  int    `json:"vocab_size"`
		Meta   struct {
			Vocab int `json:"n_vocab"`
		} `json:"meta"`
	}
	var models struct{ Data []card }
	if err := json.NewDecoder(resp.Body).Decode(&models); err != nil {
		return Served{}, fmt.Errorf("%s/models is no list of models (%w): is this an OpenAI-compatible server?", c.Base, err)
	}
	if len(models.Data) == 0 {
		return Served{Name: c.Model}, fmt.Errorf("%s/models lists no model", c.Base)
	}
	i := 0
	if c.Model != "" {
		i = slices.IndexFunc(models.Data, func(m card) bool { return m.ID == c.Model })
	}
	if i < 0 {
		return Served{Name: c.Model}, fmt.Errorf("%s/models does not list %q; the first of %d is %q", c.Base, c.Model, len(models.Data), models.Data[0].ID)
	}
	m := models.Data[i]
	return Served{Name: m.ID, MaxLen: max(0, m.MaxLen), Vocab: max(0, m.Vocab, m.Meta.Vocab)}, nil
}

// Count asks the server how many tokens a text is as the only message of a
// chat: Troupe and vLLM tell.
func (c *Client) Count(ctx context.Context, text string) (tokens int, err error) {
	body, err := json.Marshal(map[string]any{"model": c.Model, "messages": []message{{"user", text}}})
	if err != nil {
		return 0, err
	}
	resp, err := c.do(ctx, http.MethodPost, c.root()+"/tokenize", body)
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	var answer struct{ Count int }
	if err := json.NewDecoder(resp.Body).Decode(&answer); err != nil {
		return 0, fmt.Errorf("/tokenize: %w", err)
	}
	if answer.Count < 1 {
		return 0, fmt.Errorf("/tokenize counts %d tokens", answer.Count)
	}
	return answer.Count, nil
}

// Drawn are the lengths that requests are drawn with. A fixed range is one that
// somebody asked for; the other may be narrowed.
type Drawn struct {
	Input, Output           Range
	InputFixed, OutputFixed bool
}

// Fit narrows lengths until the longest prompt and the longest reply make at
// most limit tokens together: both in proportion, or the one that is not fixed.
// A limit of 0 is none. The note says what was done; it is empty when nothing
// was.
func (d *Drawn) Fit(limit int) (note string, err error) {
	was := *d
	switch longest := d.Input.High + d.Output.High; {
	case limit == 0 || longest <= limit:
		return "", nil
	case d.InputFixed && !d.OutputFixed:
		d.Output = d.Output.within(limit - d.Input.High)
	case d.OutputFixed && !d.InputFixed:
		d.Input = d.Input.within(limit - d.Output.High)
	case !d.InputFixed:
		d.Input = d.Input.within(limit * d.Input.High / longest)
		d.Output = d.Output.within(limit - d.Input.High)
	}
	if d.Input.High+d.Output.High > limit || d.Input.High < 1 || d.Output.High < 1 {
		*d = was
		return "", fmt.Errorf("requests of up to %d + %d tokens do not fit: the longest this model takes is %d", d.Input.High, d.Output.High, limit)
	}
	return fmt.Sprintf("the model takes %s tokens a request, so prompts have %s and replies %s, not %s and %s",
		thousands(limit), d.Input.words(), d.Output.words(), was.Input.words(), was.Output.words()), nil
}

// words are the range as one reads it.
func (r Range) words() string {
	if r.Low == r.High {
		return thousands(r.Low)
	}
	return thousands(r.Low) + "–" + thousands(r.High)
}

// within is the range with its ends at most n.
func (r Range) within(n int) Range { return Range{min(r.Low, n), min(r.High, n)} }
