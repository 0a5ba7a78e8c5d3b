// Package clienttest holds conversations of the official OpenAI client with
// the built program. It is a module of its own, so that who uses troupe does
// not depend on that client.
package clienttest

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/openai/openai-go/v3"
	"github.com/openai/openai-go/v3/option"
	"github.com/openai/openai-go/v3/shared"
)

// patience bounds all of the conversations.
const patience = 5 * time.Minute

const key = "test-key"

// The server all tests talk to.
var (
	client openai.Client
	model  string
	wrong  openai.Client // with another key
)

func TestMain(m *testing.M) {
	status, err := serve(m.Run)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		status = 1
	}
	os.Exit(status)
}

// serve builds the program and runs tests beside it. TROUPE_TEST_MODEL names
// another model than the built-in one.
func serve(run func() int) (int, error) {
	dir, err := os.MkdirTemp("", "troupe")
	if err != nil {
		return 0, err
	}
	defer os.RemoveAll(dir)
	program := filepath.Join(dir, "troupe")
	build := exec.Command("go", "build", "-o", program, "./cmd/troupe")
	build.Dir = filepath.Join("..", "..")
	if out, err := build.CombinedOutput(); err != nil {
		return 0, fmt.Errorf("go build: %w\n%s", err, out)
	}

	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	server := exec.CommandContext(ctx, program, "serve", "--port", "0", "--api-key", key, "--log-level", "warn",
		"--model", cmp.Or(os.Getenv("TROUPE_TEST_MODEL"), "builtin"))
	server.Stderr = os.Stderr
	stdout, err := server.StdoutPipe()
	if err != nil {
		return 0, err
	}
	if err := server.Start(); err != nil {
		return 0, err
	}
	line, err := bufio.NewReader(stdout).ReadString('\n')
	if err != nil {
		return 0, fmt.Errorf("the server ended before it was ready: %w, %w", err, server.Wait())
	}
	base := strings.TrimSpace(line[max(0, strings.Index(line, "http://")):])
	client = openai.NewClient(option.WithBaseURL(base), option.WithAPIKey(key), option.WithMaxRetries(0))
	wrong = openai.NewClient(option.WithBaseURL(base), option.WithAPIKey("other"), option.WithMaxRetries(0))
	status := run()

	if err := server.Process.Signal(os.Interrupt); err != nil {
		return 0, err
	}
	if err := server.Wait(); err != nil {
		return 0, fmt.Errorf("the server did not end well: %w", err)
	}
	return status, nil
}

// chat is a short, reproducible conversation.
func chat(messages ...openai.ChatCompletionMessageParamUnion) openai.ChatCompletionNewParams {
	return openai.ChatCompletionNewParams{
		Model: served(), Messages: messages, Temperature: openai.Float(0), MaxCompletionTokens: openai.Int(40),
	}
}

// served is the name of the model, asked for once.
func served() string {
	if model == "" {
		page, err := client.Models.List(context.Background())
		if err != nil || len(page.Data) != 1 {
			panic(fmt.Sprint("listing models: ", page, err))
		}
		model = page.Data[0].ID
	}
	return model
}

// stream reads a streamed answer and returns it put together, and its chunks.
func stream(t *testing.T, p openai.ChatCompletionNewParams) (openai.ChatCompletionAccumulator, int) {
	t.Helper()
	s := client.Chat.Completions.NewStreaming(t.Context(), p)
	defer s.Close()
	var all openai.ChatCompletionAccumulator
	chunks := 0
	for s.Next() {
		if !all.AddChunk(s.Current()) {
			t.Fatalf("chunk %d does not fit: %s", chunks, s.Current().RawJSON())
		}
		chunks++
	}
	if err := s.Err(); err != nil {
		t.Fatal(err)
	}
	return all, chunks
}

func TestModels(t *testing.T) {
	m, err := client.Models.Get(t.Context(), served())
	if err != nil || m.ID != served() || m.Created == 0 {
		t.Errorf("got %+v, %v", m, err)
	}
}

// TestStreamIsTheAnswer asks twice: the stream put together is the answer that
// came whole.
func TestStreamIsTheAnswer(t *testing.T) {
	p := chat(openai.SystemMessage("You tell stories."), openai.UserMessage("Tell me a story about a fox."))
	whole, err := client.Chat.Completions.New(t.Context(), p)
	if err != nil {
		t.Fatal(err)
	}
	p.StreamOptions.IncludeUsage = openai.Bool(true)
	got, chunks := stream(t, p)
	want := whole.Choices[0]
	if len(got.Choices) != 1 || got.Choices[0].Message.Content != want.Message.Content || got.Choices[0].FinishReason != want.FinishReason {
		t.Errorf("streamed %+v\nwhole    %+v", got.Choices, want)
	}
	if want.Message.Content == "" || want.Message.Role != "assistant" || chunks < 4 {
		t.Errorf("%d chunks, %+v", chunks, want.Message)
	}
	if want.FinishReason != "length" && want.FinishReason != "stop" {
		t.Errorf("it finished with %q", want.FinishReason)
	}
	u := got.Usage
	if u.PromptTokens == 0 || u.CompletionTokens == 0 || u.TotalTokens != u.PromptTokens+u.CompletionTokens ||
		u.PromptTokens != whole.Usage.PromptTokens || u.CompletionTokens != whole.Usage.CompletionTokens {
		t.Errorf("streamed %+v\nwhole    %+v", u, whole.Usage)
	}
}

// The first thing a newcomer asks for: the built-in model tells a story, to
// its end. What is told while a client is slow comes in one chunk, so that
// only three are certain: the role, text, the reason it ended for.
func TestStory(t *testing.T) {
	if os.Getenv("TROUPE_TEST_MODEL") != "" {
		t.Skip("another model than the built-in one")
	}
	p := chat(openai.UserMessage("Tell me a story about a fox."))
	p.MaxCompletionTokens = openai.Int(500)
	got, chunks := stream(t, p)
	story := got.Choices[0].Message.Content
	if !strings.Contains(story, "fox") || got.Choices[0].FinishReason != "stop" || chunks < 3 || len(strings.Fields(story)) < 30 {
		t.Errorf("%d chunks, %q: %q", chunks, got.Choices[0].FinishReason, story)
	}
}

func TestConversation(t *testing.T) {
	first, err := client.Chat.Completions.New(t.Context(), chat(openai.UserMessage("Hello!")))
	if err != nil {
		t.Fatal(err)
	}
	parts := openai.UserMessage([]openai.ChatCompletionContentPartUnionParam{openai.TextContentPart("Who"), openai.TextContentPart("are you?")})
	second, err := client.Chat.Completions.New(t.Context(), chat(openai.UserMessage("Hello!"), first.Choices[0].Message.ToParam(), parts))
	if err != nil || second.Choices[0].Message.Content == "" || second.Usage.PromptTokens <= first.Usage.PromptTokens {
		t.Errorf("got %+v, %v", second, err)
	}
}

func TestChoices(t *testing.T) {
	p := chat(openai.UserMessage("Hello!"))
	p.N, p.Seed, p.Temperature, p.MaxCompletionTokens = openai.Int(3), openai.Int(7), openai.Float(1), openai.Int(8)
	whole, err := client.Chat.Completions.New(t.Context(), p)
	if err != nil || len(whole.Choices) != 3 {
		t.Fatalf("got %+v, %v", whole, err)
	}
	got, _ := stream(t, p)
	for i := range whole.Choices {
		if whole.Choices[i].Index != int64(i) || got.Choices[i].Message.Content != whole.Choices[i].Message.Content {
			t.Errorf("choice %d: streamed %q, whole %q", i, got.Choices[i].Message.Content, whole.Choices[i].Message.Content)
		}
	}
}

func TestLogprobs(t *testing.T) {
	p := chat(openai.UserMessage("Hello!"))
	p.Logprobs, p.TopLogprobs, p.MaxCompletionTokens = openai.Bool(true), openai.Int(2), openai.Int(5)
	whole, err := client.Chat.Completions.New(t.Context(), p)
	if err != nil {
		t.Fatal(err)
	}
	tokens := whole.Choices[0].Logprobs.Content
	if len(tokens) != int(whole.Usage.CompletionTokens) {
		t.Errorf("%d tokens have log-probabilities, of %d", len(tokens), whole.Usage.CompletionTokens)
	}
	for _, tok := range tokens { // greedy: what was drawn is the likeliest
		if tok.Logprob > 0 || len(tok.TopLogprobs) != 2 || tok.TopLogprobs[0].Token != tok.Token || tok.TopLogprobs[1].Logprob > tok.Logprob {
			t.Errorf("%s", tok.RawJSON())
		}
	}
}

// TestStop ends an answer at a word it is known to say.
func TestStop(t *testing.T) {
	p := chat(openai.UserMessage("Tell me a story about a fox."))
	whole, err := client.Chat.Completions.New(t.Context(), p)
	if err != nil {
		t.Fatal(err)
	}
	text := []rune(whole.Choices[0].Message.Content)
	stop := string(text[len(text)/2 : len(text)/2+3])
	p.Stop = openai.ChatCompletionNewParamsStopUnion{OfStringArray: []string{stop}}
	got, _ := stream(t, p)
	before, _, _ := strings.Cut(string(text), stop)
	if c := got.Choices[0]; c.Message.Content != before || c.FinishReason != "stop" {
		t.Errorf("stopping at %q gave %q (%s), want %q", stop, c.Message.Content, c.FinishReason, before)
	}
}

func TestTextCompletion(t *testing.T) {
	p := openai.CompletionNewParams{
		Model: openai.CompletionNewParamsModel(served()), Prompt: openai.CompletionNewParamsPromptUnion{OfArrayOfStrings: []string{"Once", "The fox"}},
		Temperature: openai.Float(0), MaxTokens: openai.Int(6), Echo: openai.Bool(true),
	}
	whole, err := client.Completions.New(t.Context(), p)
	if err != nil || len(whole.Choices) != 2 {
		t.Fatalf("got %+v, %v", whole, err)
	}
	s := client.Completions.NewStreaming(t.Context(), p)
	defer s.Close()
	var got [2]string
	for s.Next() {
		for _, c := range s.Current().Choices {
			got[c.Index] += c.Text
		}
	}
	if err := s.Err(); err != nil {
		t.Fatal(err)
	}
	for i, c := range whole.Choices {
		if got[i] != c.Text || !strings.HasPrefix(c.Text, p.Prompt.OfArrayOfStrings[i]) {
			t.Errorf("choice %d: streamed %q, whole %q", i, got[i], c.Text)
		}
	}
}

// TestScoring asks for no token, only for how likely the prompt is: as
// evaluation harnesses do, whole and streamed. What makes sense is likelier.
func TestScoring(t *testing.T) {
	if os.Getenv("TROUPE_TEST_MODEL") != "" {
		t.Skip("another model than the built-in one")
	}
	prompts := []string{"Once upon a time, there was a fox.", "fox a was there, time a upon Once."}
	p := openai.CompletionNewParams{
		Model: openai.CompletionNewParamsModel(served()), Prompt: openai.CompletionNewParamsPromptUnion{OfArrayOfStrings: prompts},
		MaxTokens: openai.Int(0), Echo: openai.Bool(true), Logprobs: openai.Int(1),
	}
	whole, err := client.Completions.New(t.Context(), p)
	if err != nil || len(whole.Choices) != 2 || whole.Usage.CompletionTokens != 0 {
		t.Fatalf("got %+v, %v", whole, err)
	}
	s := client.Completions.NewStreaming(t.Context(), p)
	defer s.Close()
	var streamed [2][]float64
	for s.Next() {
		for _, c := range s.Current().Choices {
			streamed[c.Index] = append(streamed[c.Index], c.Logprobs.TokenLogprobs...)
		}
	}
	if err := s.Err(); err != nil {
		t.Fatal(err)
	}
	var sums [2]float64
	tokens := 0
	for i, c := range whole.Choices {
		l := &c.Logprobs
		if c.Text != prompts[i] || c.FinishReason != "length" || strings.Join(l.Tokens, "") != prompts[i] || len(l.TokenLogprobs) != len(l.Tokens) || len(l.TextOffset) != len(l.Tokens) {
			t.Errorf("choice %d: %s", i, c.RawJSON())
		}
		if !slices.Equal(l.TokenLogprobs, streamed[i]) {
			t.Errorf("choice %d: streamed %v, whole %v", i, streamed[i], l.TokenLogprobs)
		}
		tokens += len(l.Tokens)
		for _, x := range l.TokenLogprobs {
			sums[i] += x
		}
	}
	if tokens != int(whole.Usage.PromptTokens) || sums[0] < sums[1]+10 {
		t.Errorf("%d tokens of %d, log-likelihoods %v", tokens, whole.Usage.PromptTokens, sums)
	}
}

func TestErrors(t *testing.T) {
	other := chat(openai.UserMessage("Hello!"))
	other.Model = "another-model"
	hot := chat(openai.UserMessage("Hello!"))
	hot.Temperature = openai.Float(7)
	schema := chat(openai.UserMessage("Hello!"))
	schema.ResponseFormat.OfJSONSchema = &shared.ResponseFormatJSONSchemaParam{
		JSONSchema: shared.ResponseFormatJSONSchemaJSONSchemaParam{Name: "s", Schema: map[string]any{"type": "text"}},
	}
	for _, tc := range []struct {
		from   openai.Client
		ask    openai.ChatCompletionNewParams
		status int
		code   string
		param  string
	}{
		{client, other, 404, "model_not_found", "model"},
		{client, hot, 400, "", "temperature"},
		{client, schema, 400, "", "response_format.json_schema.schema.type"},
		{wrong, chat(openai.UserMessage("Hello!")), 401, "invalid_api_key", ""},
	} {
		for _, streamed := range []bool{false, true} {
			var err error
			if streamed {
				s := tc.from.Chat.Completions.NewStreaming(t.Context(), tc.ask)
				if s.Next() {
					t.Errorf("%s: a chunk came", tc.param)
				}
				err = s.Err()
				s.Close()
			} else {
				_, err = tc.from.Chat.Completions.New(t.Context(), tc.ask)
			}
			var e *openai.Error
			if !errors.As(err, &e) || e.StatusCode != tc.status || e.Code != tc.code || e.Param != tc.param || e.Message == "" {
				t.Errorf("streamed %v: got %v, want %d %q %q", streamed, err, tc.status, tc.code, tc.param)
			}
		}
	}
}

// TestLeaving cancels a stream after its first token; the server goes on.
func TestLeaving(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	p := chat(openai.UserMessage("Tell me a story about a fox."))
	long := p
	long.MaxCompletionTokens = openai.Int(1500) // more than any buffer on the way holds
	s := client.Chat.Completions.NewStreaming(ctx, long, option.WithJSONSet("ignore_eos", true))
	if !s.Next() {
		t.Fatal(s.Err())
	}
	cancel()
	for s.Next() {
	}
	if err := s.Err(); err == nil || errors.Is(err, io.EOF) {
		t.Errorf("the stream ended with %v", err)
	}
	if _, err := client.Chat.Completions.New(t.Context(), p); err != nil {
		t.Error(err)
	}
}
