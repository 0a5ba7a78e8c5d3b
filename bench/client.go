package bench

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"
	"unicode/utf8"
)

// Client sends streamed completions to any OpenAI-compatible server and notes
// when each token came. Prompts go as token ids, so that every server computes
// the very same work; those that have a text go as a user's message of a chat.
type Client struct {
	Base    string // up to and with /v1
	Key     string
	Model   string
	KeepEOS bool // let stop tokens end a reply
	// Plain sends no field that OpenAI does not know, for servers that refuse
	// others: so stop tokens end replies, and tokens are counted by usage.
	Plain bool
	// OwnClock times tokens when they are read, even where the kernel tells
	// when they came.
	OwnClock bool
	// MaxConns bounds the connections, and with them the open requests.
	MaxConns int

	http *http.Client
	// How long the server may take to say what it serves, and how it stands.
	patience, pollPatience time.Duration
}

// NewClient reaches a server at url, with or without /v1 at its end.
func NewClient(url, key, model string, maxConns int) *Client {
	dialer := &net.Dialer{Timeout: 30 * time.Second}
	return &Client{
		Base: strings.TrimSuffix(strings.TrimRight(url, "/"), "/v1") + "/v1", Key: key, Model: model, MaxConns: maxConns,
		patience: 30 * time.Second, pollPatience: time.Second,
		http: &http.Client{Transport: &http.Transport{
			DialContext: dialStamped(dialer), MaxIdleConnsPerHost: maxConns, MaxConnsPerHost: maxConns,
			DisableCompression: true, // a compressor would hold tokens back
		}},
	}
}

// root is what comes before /v1.
func (c *Client) root() string { return strings.TrimSuffix(c.Base, "/v1") }

// Close drops idle connections.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// completion is the body of a request: OpenAI's, unless it is to be plain with
// ignore_eos, which vLLM, SGLang and we know, and return_token_ids, which tells
// vLLM and us to say how many tokens an event holds.
type completion struct {
	Model         string         `json:"model"`
	Prompt        []int32        `json:"prompt,omitempty"`
	Messages      []message      `json:"messages,omitempty"` // of a chat, in place of a prompt
	MaxTokens     int            `json:"max_tokens"`
	Temperature   float64        `json:"temperature"`
	Seed          *uint64        `json:"seed,omitempty"`
	IgnoreEOS     bool           `json:"ignore_eos,omitempty"`
	TokenIDs      bool           `json:"return_token_ids,omitempty"`
	Stream        bool           `json:"stream"`
	StreamOptions map[string]any `json:"stream_options"`
}

type message struct {
	Role    string `json:"role"`
	Content string `json:"content"`
}

// chunk is what is read of an event.
type chunk struct {
	Choices []struct {
		Text  string `json:"text"`
		Delta struct {
			Role      string `json:"role"`
			Content   string `json:"content"`
			Reasoning string `json:"reasoning_content"`
		} `json:"delta"`
		FinishReason string `json:"finish_reason"`
	} `json:"choices"`
	Usage *usage          `json:"usage"`
	Error json.RawMessage `json:"error"`
}

// generate sends one prompt and fills in t; got hears of tokens as they come.
//
// The tokens of one event came at one time, and the gap before it is shared
// among them. A server that does not say how many an event holds is taken to
// send one each, and at the end corrected by its usage.
func (c *Client) generate(ctx context.Context, p *Prompt, temperature float64, seed uint64, t *timing, got func(tokens int)) {
	t.err = c.stream(ctx, p, temperature, seed, t, got)
}

func (c *Client) stream(ctx context.Context, p *Prompt, temperature float64, seed uint64, t *timing, got func(tokens int)) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	request := completion{
		Model: c.Model, Prompt: p.Tokens, MaxTokens: p.MaxTokens, Temperature: temperature, Seed: &seed,
		IgnoreEOS: !c.KeepEOS && !c.Plain, TokenIDs: !c.Plain, Stream: true, StreamOptions: map[string]any{"include_usage": true},
	}
	route := "/completions"
	if p.Text != "" {
		route, request.Prompt, request.Messages = "/chat/completions", nil, []message{{"user", p.Text}}
	}
	body, err := json.Marshal(request)
	if err != nil {
		return err
	}
	var m moments
	t.sent = time.Now()
	resp, err := c.do(m.trace(ctx), http.MethodPost, c.Base+route, body)
	if sent := m.sent.Load(); sent != nil {
		t.sent = *sent
	}
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	clock := m.now
	if t.stamps = m.stamps(); c.OwnClock {
		t.stamps, clock = ClientStamps, time.Now
	}
	r := reply{timing: t, got: got}
	err = eachEvent(resp.Body, clock, r.event)
	if err != nil && !(r.finished && errors.Is(err, errEnded)) { // not every server says [DONE]
		return err
	}
	if !r.finished {
		return errors.New("the server ended the reply without a finish_reason")
	}
	// A body that is not read to its end costs the connection. Nearly every
	// server ends it at once.
	limit := time.AfterFunc(time.Second, cancel)
	_, _ = io.Copy(io.Discard, resp.Body)
	limit.Stop()
	t.input, t.tokens = len(p.Tokens), r.counted
	if u := r.usage; u.CompletionTokens > 0 {
		t.tokens = u.CompletionTokens
		t.spread()
	}
	if t.first == 0 { // an empty reply: its end is the first that was heard of it
		t.first = t.last
	}
	if r.usage.PromptTokens > 0 {
		t.input = r.usage.PromptTokens
	}
	t.cached = r.usage.Details.CachedTokens
	return nil
}

// reply is what is known of one so far.
type reply struct {
	*timing
	got      func(tokens int)
	counted  int
	usage    usage
	finished bool
}

type usage struct {
	PromptTokens     int `json:"prompt_tokens"`
	CompletionTokens int `json:"completion_tokens"`
	Details          struct {
		CachedTokens int `json:"cached_tokens"`
	} `json:"prompt_tokens_details"`
}

// event takes in an event that was there at a time.
func (r *reply) event(at time.Time, data []byte) error {
	if r.stamps == KernelStamps {
		r.lags = append(r.lags, time.Since(at))
	}
	n := tokenIDs(data)
	r.told = r.told || n >= 0
	if !aToken(data) {
		var e chunk
		if err := json.Unmarshal(data, &e); err != nil {
			return fmt.Errorf("the server sent %.80q, which is no event: %w", data, err)
		}
		if e.Choices == nil { // some servers' errors have no "error"
			e.Error = data
		}
		if what := Complaint(e.Error); what != "" {
			return errors.New(what)
		}
		for _, choice := range e.Choices {
			r.finished = r.finished || choice.FinishReason != ""
			// What opens and what ends a reply need not hold a token.
			d := &choice.Delta
			if n < 0 && choice.Text+d.Content+d.Reasoning == "" && (choice.FinishReason != "" || d.Role != "") {
				n = 0
			}
		}
		if len(e.Choices) == 0 {
			n = 0
		}
		if e.Usage != nil {
			r.usage, r.told = *e.Usage, true
		}
		r.last = at.Sub(r.sent)
	}
	if n < 0 {
		n = 1
	}
	if n > 0 {
		r.counted += n
		r.came(at, n)
		r.got(n)
	}
	return nil
}

// aToken reports whether an event is nothing but a token, or several. Nearly
// every one is: only the others are parsed.
func aToken(data []byte) bool {
	has := func(text string) bool { return bytes.Contains(data, []byte(text)) }
	return (has(`"finish_reason":null`) || has(`"finish_reason": null`)) && !has(`"role":"`) && !has(`"role": "`) &&
		!has(`"error"`) && !has(`"usage":{`) && !has(`"usage": {`)
}

// tokenIDs is how many token ids an event says it holds; −1 when it does not
// say.
func tokenIDs(data []byte) int {
	_, list, found := bytes.Cut(data, []byte(`"token_ids":[`))
	if !found {
		return -1
	}
	list, _, _ = bytes.Cut(list, []byte("]"))
	if len(bytes.TrimSpace(list)) == 0 {
		return 0
	}
	return 1 + bytes.Count(list, []byte(","))
}

// came notes the coming of n tokens.
func (t *timing) came(at time.Time, n int) {
	now := at.Sub(t.sent)
	if t.first == 0 {
		t.first, t.arrived, n = now, now, n-1
	}
	for range n {
		t.between = append(t.between, (now-t.arrived)/time.Duration(n))
	}
	t.arrived, t.last = now, now
}

// spread makes one gap a token of the gaps between events, when there were
// fewer events than tokens.
func (t *timing) spread() {
	gaps, extra := len(t.between), t.tokens-1-len(t.between)
	if gaps == 0 || extra <= 0 {
		return
	}
	out := make([]time.Duration, 0, t.tokens-1)
	for i, d := range t.between {
		n := 1 + extra*(i+1)/gaps - extra*i/gaps
		for range n {
			out = append(out, d/time.Duration(n))
		}
	}
	t.between = out
}

func (c *Client) do(ctx context.Context, method, url string, body []byte) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, method, url, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", "application/json")
	if c.Key != "" {
		req.Header.Set("Authorization", "Bearer "+c.Key)
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, err
	}
	if resp.StatusCode == http.StatusOK {
		return resp, nil
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(io.LimitReader(resp.Body, 64<<10))
	if err != nil {
		return nil, err
	}
	what := Complaint(data)
	switch {
	case resp.StatusCode == http.StatusNotFound && url == c.Base+"/completions" && (what == "" || what == "Not Found"):
		return nil, fmt.Errorf("%s has no /completions (status 404); --api chat sends texts in place of token ids", c.Base)
	case what == "":
		return nil, fmt.Errorf("%s answered %s", url, resp.Status)
	case strings.Contains(what, "ignore_eos") || strings.Contains(what, "return_token_ids"):
		return nil, fmt.Errorf("%s (status %d); --plain sends no fields but OpenAI's own", what, resp.StatusCode)
	}
	return nil, fmt.Errorf("%s (status %d)", what, resp.StatusCode)
}

// Complaint is what a server says went wrong, "" when it says nothing: OpenAI's
// {"error": {"message": …}}, the message or detail that others put in its
// place, or a short plain text.
func Complaint(data []byte) string {
	const most = 300
	data = bytes.TrimSpace(data)
	var text string
	if json.Unmarshal(data, &text) == nil { // or null, which is ""
		return text
	}
	var said struct{ Error, Message, Detail json.RawMessage }
	if json.Unmarshal(data, &said) == nil {
		for _, part := range []json.RawMessage{said.Error, said.Message, said.Detail} {
			if what := Complaint(part); what != "" {
				return what
			}
		}
		return ""
	}
	if bytes.HasPrefix(data, []byte("<")) || !utf8.Valid(data) { // a page, or worse
		return ""
	}
	return strings.ToValidUTF8(string(data[:min(len(data), most)]), "")
}

// errEnded is the end of a reply before [DONE].
var errEnded = errors.New("the connection ended before the reply did")

// EachEvent reads server-sent events until [DONE], with the time at which each
// was there.
func EachEvent(body io.Reader, on func(at time.Time, data []byte) error) error {
	return eachEvent(body, time.Now, on)
}

// eachEvent asks the clock once a line has been read.
func eachEvent(body io.Reader, clock func() time.Time, on func(at time.Time, data []byte) error) error {
	lines := bufio.NewReaderSize(body, 16<<10)
	for {
		line, err := lines.ReadSlice('\n')
		at := clock()
		switch {
		case errors.Is(err, bufio.ErrBufferFull):
			head := bytes.Clone(line) // the next read overwrites it
			line, err = lines.ReadBytes('\n')
			line = append(head, line...)
		case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
			return errEnded
		}
		if err != nil {
			return err
		}
		data, is := bytes.CutPrefix(bytes.TrimSpace(line), []byte("data:"))
		if !is {
			continue // comments and blank lines
		}
		if data = bytes.TrimSpace(data); string(data) == "[DONE]" {
			return nil
		}
		if err := on(at, data); err != nil {
			return err
		}
	}
}
