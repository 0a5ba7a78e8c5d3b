package actors_test

import (
	"context"
	"errors"
	"fmt"
	"log"

	"github.com/troupe-llm/troupe/actors"
	"github.com/troupe-llm/troupe/tokenize"
	"github.com/troupe-llm/troupe/tokenize/grammar"
)

// A model in the process: a reply is printed as it comes. Config.Model is the
// directory of a checkpoint, or, as here, the model inside the program. Tokens are drawn as
// the model's generation_config.json wants it, unless Request.Sampling says otherwise.
func Example() {
	system, err := actors.Open(actors.Config{Device: "cpu"})
	if err != nil {
		log.Fatal(err)
	}
	defer system.Close()

	stream, err := system.Submit(&actors.Request{
		Chat:      tokenize.NewChat(tokenize.UserMessage("Thank you")),
		MaxTokens: 100,
		Sampling:  &actors.Sampling{Temperature: 0}, // the likeliest
	})
	if err != nil { // such as a *BusyError
		log.Fatal(err)
	}
	for event, err := range stream.All(context.Background()) {
		if err != nil {
			log.Fatal(err)
		}
		fmt.Print(event.Text)
		if end := event.Final; end != nil {
			fmt.Printf("\n%s after %d tokens\n", end.Reason, end.Usage.CompletionTokens)
		}
	}
	// Output:
	// You are welcome!
	// stop after 5 tokens
}

// A conversation goes on with what was said, and several requests run at once.
func Example_conversation() {
	system, err := actors.Open(actors.Config{Device: "cpu"})
	if err != nil {
		log.Fatal(err)
	}
	defer system.Close()

	chat := []tokenize.Message{tokenize.SystemMessage("You are kind.")}
	for _, said := range []string{"Hello", "Thank you"} {
		chat = append(chat, tokenize.UserMessage(said))
		stream, err := system.Submit(&actors.Request{Chat: tokenize.NewChat(chat...), MaxTokens: 20, Sampling: new(actors.Sampling)})
		if err != nil {
			log.Fatal(err)
		}
		text, _, err := stream.Text(context.Background())
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(said, "→", text)
		chat = append(chat, tokenize.AssistantMessage(text))
	}
	// Output:
	// Hello → Hello! What can I do for you?
	// Thank you → You are welcome!
}

// An answer that keeps to a regular expression, or with grammar.Schema to a JSON schema.
func Example_format() {
	system, err := actors.Open(actors.Config{Device: "cpu"})
	if err != nil {
		log.Fatal(err)
	}
	defer system.Close()

	stream, err := system.Submit(&actors.Request{
		Chat:     tokenize.NewChat(tokenize.UserMessage("Is a fox an animal?")),
		Grammar:  grammar.Regex("(yes|no), (surely|perhaps)"),
		Sampling: new(actors.Sampling),
	})
	if err != nil {
		log.Fatal(err)
	}
	text, end, err := stream.Text(context.Background())
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("%s (%s)\n", text, end.Reason)
	// Output:
	// yes, surely (stop)
}

// A loop that is left cancels the request. What is wrong with a request says which field it is.
func ExampleStream_All() {
	system, err := actors.Open(actors.Config{Device: "cpu"})
	if err != nil {
		log.Fatal(err)
	}
	defer system.Close()

	stream, err := system.Submit(&actors.Request{Text: "Once upon a time", Sampling: new(actors.Sampling)})
	if err != nil {
		log.Fatal(err)
	}
	tokens := 0
	for event, err := range stream.All(context.Background()) {
		if err != nil {
			log.Fatal(err)
		}
		if tokens += len(event.Tokens); tokens > 3 {
			break
		}
	}
	fmt.Println(tokens > 3)

	_, err = system.Submit(&actors.Request{})
	if wrong, is := errors.AsType[*actors.InputError](err); is {
		fmt.Printf("%s: %v\n", wrong.Param, wrong)
	}
	// Output:
	// true
	// prompt: the prompt is empty; give text, token ids or messages
}
