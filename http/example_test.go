package http_test

import (
	"context"
	"fmt"
	"log"
	"net"
	nethttp "net/http"
	"time"

	"github.com/rs/zerolog"

	"github.com/troupe-llm/troupe/actors"
	"github.com/troupe-llm/troupe/http"
)

// The OpenAI API inside another program, on a listener of its own.
func Example() {
	system, err := actors.Open(actors.Config{Device: "cpu"})
	if err != nil {
		log.Fatal(err)
	}
	defer system.Close()
	server, err := http.New(http.Config{Models: []string{"storyteller"}}, system, zerolog.Nop())
	if err != nil {
		log.Fatal(err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()

	resp, err := nethttp.Get("http://" + listener.Addr().String() + "/v1/models/storyteller")
	if err != nil {
		log.Fatal(err)
	}
	resp.Body.Close()
	fmt.Println(resp.Status)

	// Answers under way may take a minute more.
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	fmt.Println(server.Shutdown(ctx), <-served)
	// Output:
	// 200 OK
	// <nil> <nil>
}
