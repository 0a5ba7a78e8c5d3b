package http

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/troupe-llm/troupe/actors"
)

// TestMessagesRoutes counts tokens, takes a key where Anthropic's clients put it,
// and tells errors as they read them.
func TestMessagesRoutes(t *testing.T) {
	h := start(t, script([]actors.Output{started("a"), ends("stop", 1, 0)}), Config{APIKeys: []string{"k"}, MaxBody: 1000})
	const key = "X-Api-Key: k"
	const hi = `"messages":[{"role":"user","content":"Hi"}]`
	prompt := len(`[{"role": "user", "content": "Hi"}]`)
	for _, tc := range []struct {
		name, method, path, body string
		header                   []string
		status                   int
		want                     string
	}{
		{"counted", "POST", "/v1/messages/count_tokens", `{` + hi + `}`, []string{key, "Anthropic-Version: 2023-06-01"}, 200, fmt.Sprintf(`{"input_tokens":%d}`, prompt)},
		{"counted with what changes no prompt", "POST", "/v1/messages/count_tokens?beta=true", `{"model":"fake","tool_choice":{"type":"auto"},` + hi + `}`, []string{key}, 200, fmt.Sprintf(`{"input_tokens":%d}`, prompt)},
		{"counted with a limit", "POST", "/v1/messages/count_tokens", `{"max_tokens":1,` + hi + `}`, []string{key}, 200, `{"input_tokens":35}`},
		{"counted for another model", "POST", "/v1/messages/count_tokens", `{"model":"claude",` + hi + `}`, []string{key}, 404, `{"type":"error","error":{"type":"not_found_error","message":"the model \"claude\" is not served here; \"fake\" is"},"request_id":"t"}`},
		{"refused by the template", "POST", "/v1/messages/count_tokens", `{"messages":[{"role":"user","content":"refuse me"}]}`, []string{key}, 400, `{"type":"error","error":{"type":"invalid_request_error","message":"template: this conversation is refused"},"request_id":"t"}`},
		{"answered", "POST", "/v1/messages", `{"max_tokens":1,` + hi + `}`, []string{key}, 200, `"content":[],"stop_reason":"end_turn"`},
		{"no key", "POST", "/v1/messages", `{}`, nil, 401, `{"type":"error","error":{"type":"authentication_error"`},
		{"another version", "POST", "/v1/messages", `{}`, []string{key, "Anthropic-Version: 1"}, 400, `"message":"the header anthropic-version: only 2023-06-01 and 2026-10-21`},
		{"too large", "POST", "/v1/messages", `{"a":"` + strings.Repeat("a", 1000) + `"}`, []string{key}, 413, `{"type":"error","error":{"type":"request_too_large"`},
		{"another method", "GET", "/v1/messages", ``, []string{key}, 405, `{"type":"error","error":{"type":"invalid_request_error","message":"/v1/messages takes`},
	} {
		t.Run(tc.name, func(t *testing.T) {
			resp := h.do(tc.method, tc.path, tc.body, tc.header...)
			status, got := h.read(resp)
			if status != tc.status || !strings.Contains(got, tc.want) || resp.header.Get("Request-Id") != "t" {
				t.Errorf("got %d %s (Request-Id %q), want %d … %s", status, got, resp.header.Get("Request-Id"), tc.status, tc.want)
			}
		})
	}
}

// TestMessagesPing says that a stream lives while nothing happens.
func TestMessagesPing(t *testing.T) {
	st := newFakeStream(started("a"))
	h := start(t, engineOf(func(int, *actors.Request) (*fakeStream, error) { return st, nil }), Config{KeepAlive: time.Millisecond})
	resp := h.post("/v1/messages", `{"max_tokens":9,"stream":true,`+withHi+`}`)
	var events []string
	for len(events) < 3 {
		line, err := resp.body.ReadString('\n')
		if err != nil {
			t.Fatal(err)
		}
		if name, is := strings.CutPrefix(line, "event: "); is {
			events = append(events, strings.TrimSpace(name))
		}
	}
	if !reflect.DeepEqual(events, []string{"message_start", "ping", "ping"}) {
		t.Errorf("got %q", events)
	}
	st.push(ends("stop", 1, 0))
	if _, rest := h.read(resp); !strings.HasSuffix(rest, "event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n") {
		t.Errorf("it ends with %q", rest)
	}
}

// messageBlock is a block as a client has it in the end.
type messageBlock struct {
	Type, Text, Thinking, Signature, Name string
	Input                                 any
}

// foldMessage puts a stream together as clients do, and checks its order.
func foldMessage(t *testing.T, stream string) (blocks []messageBlock, stop string) {
	t.Helper()
	open, input, ended := false, "", false
	for _, frame := range strings.Split(strings.TrimSuffix(stream, "\n\n"), "\n\n") {
		name, data, _ := strings.Cut(strings.TrimPrefix(frame, "event: "), "\ndata: ")
		var ev struct {
			Type         string
			Index        int
			ContentBlock messageBlock `json:"content_block"`
			Delta        struct {
				Type, Text, Thinking, Signature string
				PartialJSON                     string `json:"partial_json"`
				StopReason                      string `json:"stop_reason"`
			}
		}
		if err := json.Unmarshal([]byte(data), &ev); err != nil || ev.Type != name || ended {
			t.Fatalf("%v in %q", err, frame)
		}
		last := len(blocks) - 1
		switch name {
		case "content_block_start":
			if open || ev.Index != len(blocks) {
				t.Fatalf("block %d begins: %s", len(blocks), frame)
			}
			blocks, open, input = append(blocks, ev.ContentBlock), true, ""
		case "content_block_delta":
			if !open || ev.Index != last {
				t.Fatalf("block %d goes on: %s", last, frame)
			}
			b := &blocks[last]
			b.Text, b.Thinking, b.Signature = b.Text+ev.Delta.Text, b.Thinking+ev.Delta.Thinking, b.Signature+ev.Delta.Signature
			input += ev.Delta.PartialJSON
		case "content_block_stop":
			if !open || ev.Index != last {
				t.Fatalf("block %d stops: %s", last, frame)
			}
			if open = false; input != "" {
				if err := json.Unmarshal([]byte(input), &blocks[last].Input); err != nil {
					t.Fatal(err, input)
				}
			}
		case "message_delta":
			stop = ev.Delta.StopReason
		case "message_stop":
			ended = true
		}
	}
	if open || !ended {
		t.Fatalf("it ends open: %s", stream)
	}
	return blocks, stop
}

// TestMessagesStreamedAreWhole writes replies of any blocks, cut anywhere: streamed
// and whole, a client has the same.
func TestMessagesStreamedAreWhole(t *testing.T) {
	rng := rand.New(rand.NewPCG(9, 10))
	words := []string{"Hm.", "Let <me> see: é { \"", "a\n\nb"}
	arguments := []string{"{}", `{"a": "}\"\n</tool_call>"}`, `{"é": [1, {"b": null}], "c": -0.5}`}
	var replies [][]actors.Output
	const rounds = 30
	for range rounds {
		written := ""
		if rng.IntN(2) == 0 {
			written = "<think>\n" + words[rng.IntN(len(words))] + "\n</think>\n\n"
		}
		if rng.IntN(3) > 0 {
			written += words[rng.IntN(len(words))]
		}
		for range rng.IntN(3) {
			written += "<tool_call>\n{\"name\": \"f\", \"arguments\": " + arguments[rng.IntN(len(arguments))] + "}\n</tool_call>\n"
		}
		events := append([]actors.Output{started("Hi")}, inPieces(strings.ToValidUTF8(written, ""), len(written)+1)...)
		if cut := rng.IntN(len(written) + 1); strings.ToValidUTF8(written[:cut], "") == written[:cut] {
			events = []actors.Output{started("Hi"), thinks(written[:cut]), thinks(written[cut:])}
		}
		events = append(events, ends("stop", 2, len(written)))
		replies = append(replies, events, events)
	}
	eng := script(replies...)
	eng.template = templates["thinks"]
	h := start(t, eng, Config{})
	const body = `"max_tokens":1000,"tools":[{"name":"f","input_schema":{}}],` + withHi
	for i := range rounds {
		_, stream := h.read(h.post("/v1/messages", `{"stream":true,`+body+`}`))
		streamed, stop := foldMessage(t, stream)
		_, text := h.read(h.post("/v1/messages", `{`+body+`}`))
		var whole struct {
			Content    []messageBlock
			StopReason string `json:"stop_reason"`
		}
		if err := json.Unmarshal([]byte(text), &whole); err != nil {
			t.Fatal(err, text)
		}
		if stop != whole.StopReason || len(streamed)+len(whole.Content) > 0 && !reflect.DeepEqual(streamed, whole.Content) {
			t.Errorf("%d:\nstreamed %+v %s\nwhole    %+v %s", i, streamed, stop, whole.Content, whole.StopReason)
		}
	}
}
