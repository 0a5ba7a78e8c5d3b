package main

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"strconv"
	"strings"
	"sync"
	"time"
)

var attacks = []attack{
	{name: "400 headers without a key announce 16 MiB each and send none", run: promises("guess", "")},
	{name: "400 headers with a key announce 16 MiB each and send a byte", run: promises(keyAttacker, "{")},
	{name: "400 bodies of 16 MB come a byte at a time", run: slowBodies},
	{name: "400 connections where 200 files may be open", files: 200, run: idle},
	{name: "8 clients send oneOf schemas of 64 branches, each another", run: crowd(8, oneOf)},
	{name: "4 clients send bodies of 15 MB, 400,000 messages", run: crowd(4, messages)},
	{name: "256 clients of one key ask for long replies", run: crowd(256, long)},
	{name: "64 clients guess keys", run: crowd(64, guess)},
}

// crowd is so many clients, each of which asks again when it has been answered.
func crowd(n int, ask func(context.Context, *target)) func(context.Context, *target) {
	return func(ctx context.Context, t *target) {
		var all sync.WaitGroup
		for range n {
			all.Go(func() {
				for ctx.Err() == nil {
					ask(ctx, t)
				}
			})
		}
		all.Wait()
	}
}

func (t *target) ask(ctx context.Context, path, key, body string) {
	if status := t.post(ctx, path, key, []byte(body)); ctx.Err() == nil {
		t.note(strconv.Itoa(status))
	}
}

// connections holds so many, each as hold does until it returns, and opens them again.
func connections(ctx context.Context, t *target, n int, hold func(io.ReadWriter)) {
	crowd(n, func(ctx context.Context, t *target) {
		c, err := t.dial(ctx)
		if err != nil {
			t.note("not connected")
			time.Sleep(100 * time.Millisecond)
			return
		}
		hold(c)
		c.Close()
		time.Sleep(10 * time.Millisecond)
	})(ctx, t)
}

// head is a request's, with a body to follow.
func head(key string) string {
	return "POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer " + key + "\r\nContent-Type: application/json\r\nContent-Length: 16777216\r\n\r\n"
}

// promises announces bodies, and sends as little of them as begun.
func promises(key, begun string) func(context.Context, *target) {
	return func(ctx context.Context, t *target) {
		connections(ctx, t, 400, func(c io.ReadWriter) {
			if _, err := io.WriteString(c, head(key)+begun); err != nil {
				return
			}
			status := make([]byte, len("HTTP/1.1 200"))
			if _, err := io.ReadFull(c, status); err == nil {
				t.note(string(status[len("HTTP/1.1 "):]))
			}
		})
	}
}

func slowBodies(ctx context.Context, t *target) {
	connections(ctx, t, 400, func(c io.ReadWriter) {
		_, err := io.WriteString(c, head(keyAttacker)+strings.Repeat(" ", 100_000))
		for err == nil && ctx.Err() == nil {
			time.Sleep(time.Second)
			_, err = io.WriteString(c, " ")
		}
		t.note("cut off")
	})
}

func idle(ctx context.Context, t *target) {
	connections(ctx, t, 400, func(c io.ReadWriter) {
		_, _ = c.Read(make([]byte, 1))
		t.note("closed")
	})
}

// oneOf asks for JSON of which exactly one of many objects is to be true; nobody has asked for
// the same before.
func oneOf(ctx context.Context, t *target) {
	var branches []string
	for i := range 64 {
		branches = append(branches, fmt.Sprintf(`{"type":"object","properties":{"a%d_%d":{"type":"string"},"b":{"const":%d}}}`, i, rand.Uint32(), i))
	}
	t.ask(ctx, "/v1/chat/completions", keyAttacker, `{"max_tokens":4,"messages":[{"role":"user","content":"x"}],
		"response_format":{"type":"json_schema","json_schema":{"name":"x","schema":{"oneOf":[`+strings.Join(branches, ",")+`]}}}}`)
}

var conversation = `{"messages":[` + strings.Repeat(`{"role":"user","content":"xxx"},`, 400_000) + `{"role":"user","content":""}]}`

func messages(ctx context.Context, t *target) {
	t.ask(ctx, "/v1/chat/completions", keyAttacker, conversation)
}

func long(ctx context.Context, t *target) {
	t.ask(ctx, "/v1/completions", keyAttacker, `{"prompt":"Once upon a time","max_tokens":1500,"ignore_eos":true}`)
}

func guess(ctx context.Context, t *target) {
	t.ask(ctx, "/v1/completions", strconv.FormatUint(rand.Uint64(), 10), `{"prompt":"x","max_tokens":1}`)
}
