package main

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"

	"github.com/openai/openai-go/v3"
	"github.com/openai/openai-go/v3/packages/param"
	"github.com/openai/openai-go/v3/responses"
	"github.com/openai/openai-go/v3/shared"
)

// chat is chat completions.
type chat struct {
	client openai.Client
	params openai.ChatCompletionNewParams
}

func newChat(client openai.Client, model string) *chat {
	weather := openai.ChatCompletionFunctionTool(shared.FunctionDefinitionParam{Name: "weather", Parameters: schema})
	return &chat{client, openai.ChatCompletionNewParams{
		Model: model, Tools: []openai.ChatCompletionToolUnionParam{weather},
		Messages: []openai.ChatCompletionMessageParamUnion{openai.SystemMessage("Be kind.")},
	}}
}

func (c *chat) say(text string) {
	c.params.Messages = append(c.params.Messages, openai.UserMessage(text))
}

func (c *chat) bring(calls []call, results []string) {
	for i, result := range results {
		c.params.Messages = append(c.params.Messages, openai.ToolMessage(result, calls[i].id))
	}
}

func (c *chat) ask(ctx context.Context, streamed bool) (said, error) {
	done := c.whole
	if streamed {
		done = c.streamed
	}
	completion, err := done(ctx)
	if err != nil {
		return said{}, err
	}
	choice := &completion.Choices[0]
	c.params.Messages = append(c.params.Messages, choice.Message.ToParam())
	got := said{text: choice.Message.Content}
	for i := range choice.Message.ToolCalls {
		f := &choice.Message.ToolCalls[i]
		one, err := parsed(f.ID, f.Function.Name, f.Function.Arguments)
		if err != nil {
			return got, err
		}
		got.calls = append(got.calls, one)
	}
	if want := map[bool]string{true: "tool_calls", false: "stop"}[len(got.calls) > 0]; choice.FinishReason != want || completion.Usage.TotalTokens != 30 {
		err = fmt.Errorf("it finished with %q, %+v", choice.FinishReason, completion.Usage)
	}
	return got, err
}

func (c *chat) whole(ctx context.Context) (*openai.ChatCompletion, error) {
	done, err := c.client.Chat.Completions.New(ctx, c.params)
	if err == nil {
		err = strict(done)
	}
	return done, err
}

func (c *chat) streamed(ctx context.Context) (*openai.ChatCompletion, error) {
	p := c.params
	p.StreamOptions.IncludeUsage = openai.Bool(true)
	s := c.client.Chat.Completions.NewStreaming(ctx, p)
	defer s.Close()
	var all openai.ChatCompletionAccumulator
	for s.Next() {
		chunk := s.Current()
		if err := strict(&chunk); err != nil {
			return nil, err
		}
		if !all.AddChunk(chunk) {
			return nil, fmt.Errorf("a chunk does not fit: %s", chunk.RawJSON())
		}
	}
	return &all.ChatCompletion, s.Err()
}

// replies is the Responses API.
type replies struct {
	client openai.Client
	params responses.ResponseNewParams
}

func newResponses(client openai.Client, model string) *replies {
	weather := responses.ToolUnionParam{OfFunction: &responses.FunctionToolParam{Name: "weather", Parameters: schema, Strict: openai.Bool(false)}}
	return &replies{client, responses.ResponseNewParams{
		Model: model, Instructions: openai.String("Be kind."), Tools: []responses.ToolUnionParam{weather}, Store: openai.Bool(false),
	}}
}

func (r *replies) add(items ...responses.ResponseInputItemUnionParam) {
	r.params.Input.OfInputItemList = append(r.params.Input.OfInputItemList, items...)
}

func (r *replies) say(text string) {
	r.add(responses.ResponseInputItemParamOfMessage(text, responses.EasyInputMessageRoleUser))
}

func (r *replies) bring(calls []call, results []string) {
	for i, result := range results {
		item := responses.ResponseInputItemParamOfFunctionCallOutput(result)
		item.OfFunctionCallOutput.CallID = openai.String(calls[i].id)
		r.add(item)
	}
}

func (r *replies) ask(ctx context.Context, streamed bool) (got said, err error) {
	done := new(responses.Response)
	if streamed {
		done, err = r.streamed(ctx)
	} else if done, err = r.client.Responses.New(ctx, r.params); err == nil {
		err = strict(done)
	}
	if err != nil {
		return got, err
	}
	if done.Status != "completed" || done.Usage.TotalTokens != 30 {
		return got, fmt.Errorf("%s", done.RawJSON())
	}
	got.text = done.OutputText()
	for i := range done.Output {
		item := &done.Output[i]
		r.add(param.Override[responses.ResponseInputItemUnionParam](json.RawMessage(item.RawJSON())))
		if item.Type == "function_call" {
			one, err := parsed(item.CallID, item.Name, item.Arguments.OfString)
			if err != nil {
				return got, err
			}
			got.calls = append(got.calls, one)
		}
	}
	return got, nil
}

func (r *replies) streamed(ctx context.Context) (*responses.Response, error) {
	s := r.client.Responses.NewStreaming(ctx, r.params)
	defer s.Close()
	var types []string
	for s.Next() {
		event := s.Current()
		if err := strict(&event); err != nil {
			return nil, err
		}
		if event.SequenceNumber != int64(len(types)) {
			return nil, fmt.Errorf("event %d: %s", len(types), event.RawJSON())
		}
		if types = append(types, event.Type); event.Type == "response.completed" {
			return &event.Response, s.Err()
		}
	}
	return nil, fmt.Errorf("the events %q have no end: %w", slices.Compact(types), s.Err())
}
