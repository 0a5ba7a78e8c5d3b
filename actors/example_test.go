package actors_test

import (
	"context"
	"fmt"
	"log"

	"github.com/troupe-llm/troupe/actors"
	"github.com/troupe-llm/troupe/tokenize"
)

// A model in the process: a reply is printed as it comes. Config.Model is the
// directory of a checkpoint, or, as here, the model inside the program.
func Example() {
	system, err := actors.Open(actors.Config{Device: "cpu"})
	if err != nil {
		log.Fatal(err)
	}
	defer system.Close()

	stream, err := system.Submit(&actors.Request{
		Chat: &tokenize.Chat{
			Messages:            []any{map[string]any{"role": "user", "content": "Thank you"}},
			AddGenerationPrompt: true,
		},
		MaxTokens: 100,
	})
	if err != nil { // such as a *BusyError
		log.Fatal(err)
	}
	var ev actors.Event
	for ev.Final == nil {
		if err := stream.Next(context.Background(), &ev); err != nil {
			log.Fatal(err)
		}
		fmt.Printf("%s", ev.Text)
	}
	if ev.Final.Err != nil {
		log.Fatal(ev.Final.Err)
	}
	fmt.Printf("\n%s after %d tokens\n", ev.Final.Reason, ev.Final.Usage.CompletionTokens)
	// Output:
	// You are welcome!
	// stop after 5 tokens
}
