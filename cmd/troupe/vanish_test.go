package main

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/troupe-llm/troupe/actors"
	"github.com/troupe-llm/troupe/http"
)

// Clients that vanish in the middle of their streams leave nothing behind,
// while the server goes on: no request, no page of KV memory, no goroutine.
// Half of the requests wait in the queue when their clients go.
func TestVanishedClientsLeaveNothing(t *testing.T) {
	const clients, slots = 40, 20
	system, err := actors.Open(actors.Config{Device: "sim:h200,speed=inf,step=5ms", MaxRunningRequests: slots, NumPages: 4096, Log: zerolog.Nop()})
	if err != nil {
		t.Fatal(err)
	}
	server, err := http.New(http.Config{}, system, zerolog.Nop())
	if err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if err := server.Shutdown(ctx); err != nil {
			t.Error(err)
		}
		if err := <-served; err != nil {
			t.Error(err)
		}
		if err := system.Close(); err != nil {
			t.Error(err)
		}
	})

	before := runtime.NumGoroutine()
	var conns []net.Conn
	streaming := make(chan error, clients)
	for i := range clients {
		c, err := net.Dial("tcp", listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		conns = append(conns, c)
		go func() { streaming <- stream(c, i) }()
	}
	for range slots { // the others wait
		if err := <-streaming; err != nil {
			t.Fatal(err)
		}
	}
	await(t, system, func(s *actors.Stats) bool { return s.OpenRequests == clients && s.Running == slots })
	if s := system.Stats(); s.PagesUsed == 0 {
		t.Fatalf("nothing is there to leave behind: %+v", s)
	}
	for i, c := range conns {
		if i%2 == 0 {
			_ = c.(*net.TCPConn).SetLinger(0) // with a reset
		}
		c.Close()
	}
	await(t, system, func(s *actors.Stats) bool {
		return s.OpenRequests == 0 && s.Running+s.Waiting == 0 && s.PagesUsed == 0 && s.Outstanding == 0
	})
	await(t, system, func(*actors.Stats) bool { return runtime.NumGoroutine() <= before+2 })
}

// stream asks for a long story and returns when its first token has come.
func stream(c net.Conn, i int) error {
	body := fmt.Sprintf(`{"prompt":"client %d says","max_tokens":1900,"ignore_eos":true,"return_token_ids":true,"stream":true}`, i)
	if _, err := fmt.Fprintf(c, "POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n%s", len(body), body); err != nil {
		return err
	}
	for r := bufio.NewReader(c); ; {
		line, err := r.ReadString('\n')
		if err != nil {
			return err
		}
		if strings.HasPrefix(line, "data: {") {
			return nil
		}
	}
}

// await fails the test unless something comes to hold.
func await(t *testing.T, system *actors.System, holds func(*actors.Stats) bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); ; runtime.Gosched() {
		s := system.Stats()
		if holds(&s) {
			return
		}
		if time.Now().After(deadline) {
			stacks := make([]byte, 1<<16)
			t.Fatalf("still %+v, with %d goroutines:\n%s", s, runtime.NumGoroutine(), stacks[:runtime.Stack(stacks, true)])
		}
	}
}
