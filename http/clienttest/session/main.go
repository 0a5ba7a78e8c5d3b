// Session has OpenAI's official client hold a session with each model of
// http/clients_test.go, as session.py does:
//
//	SESSIONS=[…] OPENAI_API_KEY=… session
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"reflect"
	"time"

	"github.com/openai/openai-go/v3"
	"github.com/openai/openai-go/v3/option"
)

// server is where a family's model is served.
type server struct {
	Name, URL string
	// Thinks says that replies have reasoning, Alone that nothing is said beside
	// calls, Single that a reply has one at most.
	Thinks, Alone, Single bool
}

// said is a reply.
type said struct {
	text  string
	calls []call
}

type call struct {
	id, name string
	input    any
}

// api is one of those that a session is held by.
type api interface {
	say(text string)
	bring(calls []call, results []string)
	// ask has the model reply, and remembers what it said.
	ask(ctx context.Context, streamed bool) (said, error)
}

const note = `in "°C" & <b>, 'please'`

var schema = map[string]any{
	"type": "object",
	"properties": map[string]any{
		"city": map[string]any{"type": "string"}, "days": map[string]any{"type": "array", "items": map[string]any{"type": "integer"}},
		"note": map[string]any{"type": "string"},
	},
	"required": []string{"city", "days", "note"},
}

func main() {
	var servers []server
	if err := json.Unmarshal([]byte(os.Getenv("SESSIONS")), &servers); err != nil {
		panic(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	held, failed := 0, 0
	for _, s := range servers {
		client := openai.NewClient(option.WithBaseURL(s.URL+"/v1"), option.WithMaxRetries(0))
		for _, streamed := range []bool{false, true} {
			for _, by := range []api{newChat(client, s.Name), newResponses(client, s.Name)} {
				held++
				if err := s.session(ctx, by, streamed); err != nil {
					failed++
					fmt.Printf("%s %T streamed %v: %v\n", s.Name, by, streamed, err)
				}
			}
		}
	}
	fmt.Printf("%d of %d sessions went well\n", held-failed, held)
	if failed > 0 {
		os.Exit(1)
	}
}

func (s *server) session(ctx context.Context, by api, streamed bool) error {
	var err error
	ask := func(text string, cities ...string) []call {
		var got said
		if err == nil {
			got, err = by.ask(ctx, streamed)
		}
		if err == nil {
			err = s.differs(&got, text, cities)
		}
		if err != nil {
			return make([]call, len(cities)) // for what follows, which is not asked any more
		}
		return got.calls
	}
	by.say("How is the weather in Oslo?")
	by.bring(ask("Let me see.", "Oslo"), []string{"21 degrees"})
	ask("It is 21 degrees there.")
	if !s.Single {
		by.say("And the weather in Rome and Bergen?")
		by.bring(ask("Two.", "Rome", "Bergen"), []string{"30 degrees", "12 degrees"})
		ask("It is 30 degrees and 12 degrees there.")
	}
	by.say("Thank you!")
	ask(`Hello, "you"!`)
	return err
}

// differs reports what is other than this text, and calls for these cities.
func (s *server) differs(got *said, text string, cities []string) error {
	if len(cities) > 0 && s.Alone {
		text = ""
	}
	want := []call{}
	for i, city := range cities {
		if i == len(got.calls) {
			break
		}
		want = append(want, call{got.calls[i].id, "weather", map[string]any{"city": city, "days": []any{1.0, 2.0}, "note": note}})
	}
	if got.text != text || len(got.calls) != len(cities) || len(want) > 0 && !reflect.DeepEqual(got.calls, want) {
		return fmt.Errorf("got %+v, want %q and %+v", *got, text, want)
	}
	return nil
}

// parsed reads a call's arguments.
func parsed(id, name, arguments string) (call, error) {
	c := call{id: id, name: name}
	err := json.Unmarshal([]byte(arguments), &c.input)
	return c, err
}
