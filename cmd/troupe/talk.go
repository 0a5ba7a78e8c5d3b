package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	nethttp "net/http"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/valyala/fasthttp/fasthttputil"

	"github.com/troupe-llm/troupe/actors"
	"github.com/troupe-llm/troupe/bench"
	"github.com/troupe-llm/troupe/http"
)

// Message is one turn of a conversation.
type Message struct {
	Role    string `json:"role"`
	Content string `json:"content"`
}

// Prompt is what a reply is asked for: a conversation, or a text to go on with.
type Prompt struct {
	Messages []Message
	Text     string // used when there are no messages
}

// Reply is what came back.
type Reply struct {
	Text         string        `json:"text"`
	Reasoning    string        `json:"reasoning,omitempty"` // what came before the text
	FinishReason string        `json:"finish_reason"`
	Usage        Usage         `json:"usage"`
	FirstToken   time.Duration `json:"-"` // from asking to the first text
	Elapsed      time.Duration `json:"-"` // from asking to the end
}

// Usage counts tokens.
type Usage struct {
	PromptTokens     int `json:"prompt_tokens"`
	CompletionTokens int `json:"completion_tokens"`
}

// client asks an OpenAI-compatible server for replies: one on the network, or
// one inside this process.
type client struct {
	base  string // up to and with /v1
	key   string
	model string
	http  nethttp.Client
	stop  func() error

	remote  bool   // it is on the network
	lacking string // what a model in this process does not allow, for people
}

// connect reaches the server that the configuration names, or makes one in
// this process.
func connect(cmd *cobra.Command, cfg *Config) (*client, error) {
	if cfg.Remote.URL != "" {
		return reach(cmd.Context(), &cfg.Remote)
	}
	log := cfg.Log.newLogger(cmd.ErrOrStderr())
	engine, err := cfg.engine(cmd, log)
	if err != nil {
		return nil, err
	}
	system, err := actors.Open(engine)
	if err != nil {
		return nil, err
	}
	server, err := http.New(http.Config{}, system, log)
	if err != nil {
		return nil, errors.Join(err, system.Close())
	}
	listener := fasthttputil.NewInmemoryListener()
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	dial := func(context.Context, string, string) (net.Conn, error) { return listener.Dial() }
	return &client{
		base: "http://localhost/v1", model: system.Model().Name, lacking: lacking(system),
		http: nethttp.Client{Transport: &nethttp.Transport{DialContext: dial}},
		stop: func() error {
			now, cancel := context.WithCancel(context.Background())
			cancel()
			if err := server.Shutdown(now); err != nil && !errors.Is(err, context.Canceled) {
				return errors.Join(err, system.Close())
			}
			return errors.Join(<-served, system.Close())
		},
	}, nil
}

// reach makes a client of a server on the network, asking for its models when
// none is named.
func reach(ctx context.Context, r *Remote) (*client, error) {
	c := &client{remote: true, base: strings.TrimSuffix(strings.TrimRight(r.URL, "/"), "/v1") + "/v1", key: r.APIKey, model: r.Name}
	c.stop = func() error { c.http.CloseIdleConnections(); return nil }
	if c.model != "" {
		return c, nil
	}
	body, err := c.send(ctx, nethttp.MethodGet, "/models", nil)
	if err != nil {
		return nil, err
	}
	defer body.Close()
	var models struct {
		Data []struct {
			ID string `json:"id"`
		} `json:"data"`
	}
	if err := json.NewDecoder(body).Decode(&models); err != nil || len(models.Data) == 0 {
		return nil, fmt.Errorf("%s/models lists no models; name one with --remote-model", c.base)
	}
	c.model = models.Data[0].ID
	return c, nil
}

// generate asks for a reply and hands its text on as it comes, and, to who
// wants it, its reasoning. On an error the reply holds what had come.
func (c *client) generate(ctx context.Context, p Prompt, s *Sampling, on, thought func(text string)) (Reply, error) {
	var r Reply
	began := time.Now()
	path, request := "/chat/completions", s.body()
	if p.Messages != nil {
		request["messages"] = p.Messages
	} else {
		path = "/completions"
		request["prompt"] = p.Text
		if s.MaxTokens == 0 {
			request["max_tokens"] = defaultCompletion
		}
	}
	request["model"], request["stream"] = c.model, true
	request["stream_options"] = map[string]any{"include_usage": true}
	body, err := c.send(ctx, nethttp.MethodPost, path, request)
	if err != nil {
		return r, err
	}
	defer body.Close()
	err = events(body, func(e *event) {
		if e.Usage != nil {
			r.Usage = *e.Usage
		}
		for _, choice := range e.Choices {
			if choice.FinishReason != "" {
				r.FinishReason = choice.FinishReason
			}
			text, reasoning := choice.Text+choice.Delta.Content, choice.Delta.Reasoning
			if r.Text == "" && r.Reasoning == "" && text+reasoning != "" {
				r.FirstToken = time.Since(began)
			}
			r.Text += text
			r.Reasoning += reasoning
			if reasoning != "" && thought != nil {
				thought(reasoning)
			}
			if text != "" {
				on(text)
			}
		}
	})
	r.Elapsed = time.Since(began)
	if err == nil && r.FinishReason == "" {
		err = errors.New("the server ended the reply without saying why")
	}
	return r, err
}

// defaultCompletion bounds a text that goes on with another, since many models
// never end such a text.
const defaultCompletion = 256

// body is what a request says of sampling; what is not given is not said.
func (s *Sampling) body() map[string]any {
	b := map[string]any{}
	if s.MaxTokens > 0 {
		b["max_tokens"] = s.MaxTokens
	}
	if s.Temperature != nil {
		b["temperature"] = *s.Temperature
	}
	if s.TopP != nil {
		b["top_p"] = *s.TopP
	}
	if s.TopK != nil {
		b["top_k"] = *s.TopK
	}
	if s.MinP != nil {
		b["min_p"] = *s.MinP
	}
	if s.Seed != nil {
		b["seed"] = *s.Seed
	}
	if len(s.Stop) > 0 {
		b["stop"] = s.Stop
	}
	return b
}

// send sends a request and returns the body of a good answer.
func (c *client) send(ctx context.Context, method, path string, body any) (io.ReadCloser, error) {
	var data []byte
	if body != nil {
		var err error
		if data, err = json.Marshal(body); err != nil {
			return nil, err
		}
	}
	req, err := nethttp.NewRequestWithContext(ctx, method, c.base+path, bytes.NewReader(data))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", "application/json")
	if c.key != "" {
		req.Header.Set("Authorization", "Bearer "+c.key)
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, err
	}
	if resp.StatusCode == nethttp.StatusOK {
		return resp.Body, nil
	}
	defer resp.Body.Close()
	data, err = io.ReadAll(io.LimitReader(resp.Body, 64<<10))
	if err != nil {
		return nil, err
	}
	if what := bench.Complaint(data); what != "" {
		return nil, fmt.Errorf("%s (status %d)", what, resp.StatusCode)
	}
	return nil, fmt.Errorf("%s answered %s", c.base+path, resp.Status)
}

// event is one server-sent event of a streamed reply, or an error.
type event struct {
	Choices []struct {
		Text  string `json:"text"`
		Delta struct {
			Content   string `json:"content"`
			Reasoning string `json:"reasoning_content"`
		} `json:"delta"`
		FinishReason string `json:"finish_reason"`
	} `json:"choices"`
	Usage *Usage `json:"usage"`
	Error *struct {
		Message string `json:"message"`
	} `json:"error"`
}

// events reads server-sent events until [DONE].
func events(body io.Reader, on func(*event)) error {
	return bench.EachEvent(body, func(_ time.Time, data []byte) error {
		var e event
		if err := json.Unmarshal(data, &e); err != nil {
			return fmt.Errorf("the server sent %.80q, which is no event: %w", data, err)
		}
		if e.Error != nil {
			return errors.New(e.Error.Message)
		}
		on(&e)
		return nil
	})
}

func (c *client) close() error { return c.stop() }
