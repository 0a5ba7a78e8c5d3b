package http

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/troupe-llm/troupe/actors"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// varies are the parts of an answer that are different every time.
var varies = regexp.MustCompile(`("created":)\d+|("id":"(?:call|toolu)_)[A-Z2-7]{24}"|("id":")[A-Z2-7]{9}"`)

// golden compares got with a file of testdata.
func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	gotLines, wantLines := strings.Split(got, "\n"), strings.Split(string(want), "\n")
	for i := range min(len(gotLines), len(wantLines)) {
		if gotLines[i] != wantLines[i] {
			t.Fatalf("%s:%d (rewrite with -update):\ngot  %s\nwant %s", path, i+1, gotLines[i], wantLines[i])
		}
	}
	if len(gotLines) != len(wantLines) {
		t.Errorf("%s (rewrite with -update): got %d lines, want %d", path, len(gotLines), len(wantLines))
	}
}

// TestTranscripts holds whole answers, streamed and not, against golden ones.
func TestTranscripts(t *testing.T) {
	story := []actors.Output{started("Hi"), says("Once "), says("upon"), ends("stop", 2, 9)}
	cached := ends("length", 9, 4)
	cached.Final.Usage.CachedTokens = 8
	stopped := ends("stop", 2, 4)
	stopped.Final.Stop = "\n\n"
	byToken := ends("stop", 2, 4)
	byToken.Final.StopToken = 7
	const tools = `"tools":[{"type":"function","function":{"name":"f","parameters":{"type":"object"}}}]`
	const calling = "<think>\nTwo.\n</think>\n\nLet me \"see\".\n\n<tool_call>\n{\"name\": \"f\", \"arguments\": {\"x\": \"1\"}}\n</tool_call>\n<tool_call>\n{\"name\": \"f\", \"arguments\": {}}\n</tool_call>"
	const chat, text, anthropic = "/v1/chat/completions", "/v1/completions", "/v1/messages"
	const anthropicTools = `"tools":[{"name":"f","description":"F.","input_schema":{"type":"object"}}]`
	const hi = `"messages":[{"role":"user","content":"Hi"}]`
	for _, tc := range []struct {
		name, intent, path, body string
		choices                  [][]actors.Output
	}{
		{"chat", "a chat's answer, whole", chat, `{` + hi + `}`, [][]actors.Output{story}},
		{"chat_stream", "a chat's answer, streamed: role, text, reason, end", chat, `{"model":"fake","stream":true,` + hi + `}`, [][]actors.Output{story}},
		{
			"chat_stream_usage", "usage comes last, in a chunk without choices", chat,
			`{"stream":true,"stream_options":{"include_usage":true},` + hi + `}`,
			[][]actors.Output{{started("Hi"), says("Well,"), cached}},
		},
		{
			"chat_stream_choices", "two choices take turns and share one prompt's usage", chat,
			`{"stream":true,"stream_options":{"include_usage":true},"n":2,` + hi + `}`,
			[][]actors.Output{story, {started("Hi"), says("It"), says(" was"), says(" late"), ends("length", 2, 11)}},
		},
		{
			"chat_stream_logprobs", "log-probabilities come with their tokens; ids, when asked for, too", chat,
			`{"stream":true,"logprobs":true,"top_logprobs":1,"return_token_ids":true,` + hi + `}`,
			[][]actors.Output{{started("Hi"), saysLikely("ab", 1), saysLikely("c", 1), ends("stop", 2, 3)}},
		},
		{
			"chat_logprobs", "the same, whole", chat,
			`{"logprobs":true,"top_logprobs":1,"return_token_ids":true,` + hi + `}`,
			[][]actors.Output{{started("Hi"), saysLikely("ab", 1), saysLikely("c", 1), ends("stop", 2, 3)}},
		},
		{
			"chat_stream_empty", "an answer without text still has a role and a reason", chat, `{"stream":true,` + hi + `}`,
			[][]actors.Output{{started("Hi"), ends("stop", 2, 1)}},
		},
		{
			"chat_stream_fails", "an error after the beginning is an event", chat, `{"stream":true,` + hi + `}`,
			[][]actors.Output{{started("Hi"), says("Once"), fails(actors.ErrFailed)}},
		},
		{
			"chat_fails", "an error before the end of a whole answer is a status", chat, `{` + hi + `}`,
			[][]actors.Output{{started("Hi"), says("Once"), fails(errors.New("the executor broke"))}},
		},
		{
			"chat_stream_refused", "a request that cannot be run has a status, though it asked for a stream", chat, `{"stream":true,` + hi + `}`,
			[][]actors.Output{{fails(&actors.InputError{Param: "messages", Msg: "the prompt has 2000 tokens"})}},
		},
		{"text", "a text completion, whole, by a stop string", text, `{"prompt":"Hi"}`, [][]actors.Output{{started("Hi"), says("\"ha\"\t\u2028é\x01"), stopped}}},
		{"text_stream", "a text completion, streamed, by a stop token", text, `{"prompt":"Hi","stream":true}`, [][]actors.Output{{started("Hi"), says("one"), says(" two"), byToken}}},
		{"text_prompts", "two prompts, two answers each", text, `{"prompt":["A","BC"],"n":2,"seed":5}`, [][]actors.Output{
			{started("A"), says("a0"), ends("stop", 1, 2)},
			{started("A"), says("a1"), ends("stop", 1, 2)},
			{started("BC"), says("b0"), ends("stop", 2, 2)},
			{started("BC"), says("b1"), ends("stop", 2, 2)},
		}},
		{
			"text_echo_stream", "the prompt's text is said first", text, `{"prompt":[72,105],"echo":true,"stream":true,"return_token_ids":true}`,
			[][]actors.Output{{started("Hi"), says(" there"), ends("length", 2, 6)}},
		},
		{
			"text_echo", "the same, whole", text, `{"prompt":[72,105],"echo":true,"return_token_ids":true}`,
			[][]actors.Output{{started("Hi"), says(" there"), ends("length", 2, 6)}},
		},
		{
			"text_echo_logprobs", "with log-probabilities of the prompt; its first token has none", text, `{"prompt":"Hé!","echo":true,"logprobs":1,"return_token_ids":true}`,
			[][]actors.Output{{started("Hé!"), scores(2), scores(1), saysLikely("ab", 1), ends("length", 4, 2)}},
		},
		{
			"text_echo_logprobs_stream", "the same, streamed", text, `{"prompt":"Hé!","echo":true,"logprobs":1,"stream":true}`,
			[][]actors.Output{{started("Hé!"), scores(2), scores(1), saysLikely("ab", 1), ends("length", 4, 2)}},
		},
		{
			"text_scored", "no token is generated: the prompt is scored", text, `{"prompt":"Hi!","echo":true,"logprobs":1,"max_tokens":0,"return_token_ids":true}`,
			[][]actors.Output{{started("Hi!"), scores(2), ends("length", 3, 0)}},
		},
		{
			"text_scored_stream", "the same, streamed", text, `{"prompt":"Hi!","echo":true,"logprobs":1,"max_tokens":0,"stream":true,"stream_options":{"include_usage":true}}`,
			[][]actors.Output{{started("Hi!"), scores(2), ends("length", 3, 0)}},
		},
		{
			"text_prompt_logprobs", "the prompt's log-probabilities apart from its text, with ranks; tokens named by ids", text,
			`{"prompt":"Hi!","prompt_logprobs":1,"logprobs":0,"return_tokens_as_token_ids":true}`,
			[][]actors.Output{{started("Hi!"), scores(2), saysLikely("ab", 1), ends("length", 3, 2)}},
		},
		{
			"chat_prompt_logprobs", "the same of a chat's prompt, and none of its answer", chat,
			`{"prompt_logprobs":0,` + hi + `}`,
			[][]actors.Output{{started("Hi!"), scores(2), saysLikely("ab", 1), ends("length", 3, 2)}},
		},
		{
			"chat_stream_usage_none", "usage comes with every chunk only when it is to come at all", chat,
			`{"stream":true,"stream_options":{"include_usage":false,"continuous_usage_stats":true},` + hi + `}`,
			[][]actors.Output{{started("Hi"), says("Well,"), cached}},
		},
		{
			"chat_stream_usage_continuous", "usage comes with every chunk", chat,
			`{"stream":true,"stream_options":{"include_usage":true,"continuous_usage_stats":true},` + hi + `}`,
			[][]actors.Output{story},
		},
		{
			"chat_stream_calls_cut", "a call that was cut short, streamed, is the same as whole", chat, `{"stream":true,` + tools + `,` + hi + `}`,
			[][]actors.Output{{started("Hi"), says(`<tool_call>{"name": "f", "arguments": {"x"`), ends("length", 2, 9)}},
		},
		{
			"chat_calls_required_cut", "what was cut before it was a call is no content, where calls are all there may be", chat, `{"tool_choice":"required",` + tools + `,` + hi + `}`,
			[][]actors.Output{{started("Hi"), says("<tool_call>{\"na"), ends("length", 2, 9)}},
		},
		{
			"text_nothing_stream", "no token, and nothing of the prompt", text, `{"prompt":"Hi!","logprobs":1,"max_tokens":0,"stream":true}`,
			[][]actors.Output{{started("Hi!"), ends("length", 3, 0)}},
		},
		{
			"text_logprobs", "parallel arrays; the drawn token is listed too; offsets are characters", text, `{"prompt":"Hi","logprobs":2}`,
			[][]actors.Output{{started("Hi"), saysLikely("ab", 2), saysLikely("c", 2), ends("stop", 2, 3)}},
		},
		{
			"text_logprobs_stream", "offsets go on from chunk to chunk", text, `{"prompt":"Hi","logprobs":0,"stream":true}`,
			[][]actors.Output{{started("Hi"), saysLikely("ab", 0), saysLikely("c", 0), ends("stop", 2, 3)}},
		},
		{
			"chat_calls", "reasoning, text and calls of tools, whole", chat, `{` + tools + `,` + hi + `}`,
			[][]actors.Output{{started("Hi"), thinks(calling), ends("stop", 2, 9)}},
		},
		{
			"chat_stream_calls", "the same, streamed: arguments come as they are written", chat, `{"stream":true,"stream_options":{"include_usage":true},` + tools + `,` + hi + `}`,
			[][]actors.Output{append(append([]actors.Output{started("Hi")}, inPieces(calling, 16)...), ends("stop", 2, 9))},
		},
		{
			"chat_calls_mistral", "Mistral's ids have nine characters", chat, `{` + tools + `,` + hi + `}`,
			[][]actors.Output{{started("Hi"), says(`[TOOL_CALLS]f[ARGS]{"x": 1}`), ends("stop", 2, 9)}},
		},
		{
			"chat_calls_cut", "a call that was cut short is one as far as it came", chat, `{` + tools + `,` + hi + `}`,
			[][]actors.Output{{started("Hi"), says(`<tool_call>{"name": "f", "arguments": {"x"`), ends("length", 2, 9)}},
		},
		{
			"chat_stream_calls_broken", "a call whose arguments are no JSON after all has them as they were written", chat, `{"stream":true,` + tools + `,` + hi + `}`,
			[][]actors.Output{{started("Hi"), says(`<tool_call>{"name": "f", "arguments": {"x": oh`), says(`, no}`), ends("stop", 2, 9)}},
		},
		{
			"chat_tools_none", "calls are not looked for when none are to be made", chat, `{"tool_choice":"none",` + tools + `,` + hi + `}`,
			[][]actors.Output{{started("Hi"), says(`<tool_call>{"name": "f"}`), ends("stop", 2, 9)}},
		},
		{
			"chat_stream_reasoning", "reasoning that the prompt began, with ids and log-probabilities", chat,
			`{"stream":true,"logprobs":true,"return_token_ids":true,"stream_options":{"include_usage":true},` + hi + `}`,
			[][]actors.Output{{started("Hi<think>\n"), saysLikely("A", 0), saysLikely("</think>", 0), saysLikely("\nB", 0), ends("stop", 2, 3)}},
		},
		{
			"chat_reasoning", "reasoning that fills the answer", chat, `{` + hi + `}`,
			[][]actors.Output{{started("Hi"), thinks("<think>Hm, hm"), ends("length", 2, 13)}},
		},
		{
			"chat_reasoning_left_out", "reasoning left out is counted", chat, `{"include_reasoning":false,` + hi + `}`,
			[][]actors.Output{{started("Hi"), thinks("<think>Hm.</think>"), thinks("Yes."), ends("stop", 2, 13)}},
		},
		{
			"chat_stream_reasoning_left_out", "and of a stream, by OpenRouter's name", chat, `{"stream":true,"reasoning":{"exclude":true},` + hi + `}`,
			[][]actors.Output{{started("Hi"), thinks("<think>Hm.</think>"), thinks("Yes."), ends("stop", 2, 13)}},
		},
		{
			"chat_reasoning_together", "reasoning left where it is", chat, `{"separate_reasoning":false,` + hi + `}`,
			[][]actors.Output{{started("Hi"), says("<think>Hm.</think>Yes."), ends("stop", 2, 13)}},
		},
		{"messages", "Anthropic's API: a message, whole; what was cached is counted apart", anthropic, `{"max_tokens":4,` + hi + `}`, [][]actors.Output{{started("Hi"), says("Well,"), cached}}},
		{
			"messages_stream", "the same, streamed: named events, blocks with their index, why it ended and usage at the end", anthropic,
			`{"model":"fake","max_tokens":4,"stream":true,` + hi + `}`,
			[][]actors.Output{{started("Hi"), says("Well,"), says(" \"so\""), cached}},
		},
		{
			"messages_stopped", "by a stop sequence, which is named", anthropic, `{"max_tokens":9,"stop_sequences":["\n\n"],` + hi + `}`,
			[][]actors.Output{{started("Hi"), says("one"), stopped}},
		},
		{"messages_window", "the context was full before as many tokens as were asked for", anthropic, `{"max_tokens":9,` + hi + `}`, [][]actors.Output{{started("Hi"), says("one"), ends("length", 2, 4)}}},
		{"messages_stream_empty", "an answer without text has no block", anthropic, `{"max_tokens":9,"stream":true,` + hi + `}`, [][]actors.Output{{started("Hi"), ends("stop", 2, 1)}}},
		{"messages_stream_fails", "an error after the beginning is an event", anthropic, `{"max_tokens":9,"stream":true,` + hi + `}`, [][]actors.Output{{started("Hi"), says("Once"), fails(actors.ErrFailed)}}},
		{"messages_fails", "an error before the end of a whole answer is a status, in Anthropic's words", anthropic, `{"max_tokens":9,` + hi + `}`, [][]actors.Output{{started("Hi"), says("Once"), fails(errors.New("the executor broke"))}}},
		{
			"messages_stream_refused", "a prompt that is too long, in the words that clients shorten it at", anthropic, `{"max_tokens":9,"stream":true,` + hi + `}`,
			[][]actors.Output{{fails(&actors.InputError{Param: "messages", Msg: "the prompt has 2000 tokens", TooLong: true})}},
		},
		{"messages_calls", "thinking, text and calls of tools, in their order", anthropic, `{"max_tokens":99,` + anthropicTools + `,` + hi + `}`, [][]actors.Output{{started("Hi"), thinks(calling), ends("stop", 2, 9)}}},
		{
			"messages_stream_calls", "the same, streamed: a signature ends thinking, arguments come as they are written", anthropic,
			`{"max_tokens":99,"stream":true,` + anthropicTools + `,` + hi + `}`,
			[][]actors.Output{append(append([]actors.Output{started("Hi")}, inPieces(calling, 16)...), ends("stop", 2, 9))},
		},
		{
			"messages_calls_cut", "of a call that was cut off what is whole is its input", anthropic, `{"max_tokens":9,` + anthropicTools + `,` + hi + `}`,
			[][]actors.Output{{started("Hi"), says(`<tool_call>{"name": "f", "arguments": {"x": {"y": [1, "a,"], "z": "b`), ends("length", 2, 9)}},
		},
		{
			"messages_stream_calls_cut", "the same, streamed", anthropic, `{"max_tokens":9,"stream":true,` + anthropicTools + `,` + hi + `}`,
			[][]actors.Output{{started("Hi"), says(`<tool_call>{"name": "f", "arguments": {"x": {"y": [1, "a,"], "z": "b`), ends("length", 2, 9)}},
		},
		{
			"messages_stream_reasoning_omitted", "thinking of which nothing is shown", anthropic,
			`{"max_tokens":99,"stream":true,"thinking":{"type":"adaptive","display":"omitted"},` + hi + `}`,
			[][]actors.Output{{started("Hi<think>\n"), thinks("A</think>"), thinks("\nB"), ends("stop", 2, 3)}},
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			eng := script(tc.choices...)
			switch {
			case strings.HasSuffix(tc.name, "mistral"):
				eng.template = "{{ tools }}[TOOL_CALLS]"
			case strings.Contains(tc.name, "calls") || strings.Contains(tc.name, "tools"):
				eng.template = "{{ tools }}<tool_call><think>"
			case strings.Contains(tc.name, "reasoning"):
				eng.template = "<think>"
			}
			h := start(t, eng, Config{})
			resp := h.post(tc.path, tc.body)
			status, body := h.read(resp)
			got := fmt.Sprintf("# %s\nPOST %s\n%s\n\n%d %s\n%s", tc.intent, tc.path, tc.body, status, resp.header.Get("Content-Type"),
				varies.ReplaceAllStringFunc(body, func(s string) string {
					if strings.HasPrefix(s, `"created"`) {
						return `"created":0`
					}
					return s[:strings.LastIndexAny(s[:len(s)-1], `_"`)+1] + `…"`
				}))
			golden(t, tc.name+".txt", got)
			if strings.Contains(tc.body, `"stream":true`) && status == 200 && resp.header.Get("X-Accel-Buffering") != "no" {
				t.Error("proxies would collect the stream")
			}
		})
	}
}
