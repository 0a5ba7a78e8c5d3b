package http

import (
	"bytes"
	"context"
	"io"
	"net"
	"strings"
	"testing"

	"github.com/rs/zerolog"
	"github.com/valyala/fasthttp/fasthttputil"
)

// What cannot be parsed may hold a key: neither the log nor the answer quotes it.
func TestUnreadableRequestsAreNotQuoted(t *testing.T) {
	var log bytes.Buffer // read when the server has ended
	s, err := newServer(Config{}, script(), zerolog.New(&log))
	if err != nil {
		t.Fatal(err)
	}
	ln, ended := fasthttputil.NewInmemoryListener(), make(chan error, 1)
	go func() { ended <- s.Serve(ln) }()
	for _, request := range []string{
		"GET / HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer sesame\r\nno header\r\n\r\n",
		"sesame\r\n\r\n",
		"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: sesame\r\n\r\n",
	} {
		c, err := ln.Dial()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(c, request); err != nil {
			t.Fatal(err)
		}
		answer, err := io.ReadAll(c)
		if err != nil {
			t.Fatal(err)
		}
		if !strings.HasPrefix(string(answer), "HTTP/1.1 400 ") || strings.Contains(string(answer), "sesame") {
			t.Errorf("%q is answered with %q", request, answer)
		}
		c.Close()
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := s.Shutdown(ctx); err != nil {
		t.Error(err)
	}
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if strings.Contains(log.String(), "sesame") {
		t.Errorf("logged: %s", log.String())
	}
}

func TestClosedConnectionsAreNoWarnings(t *testing.T) {
	for _, c := range []struct {
		err  error
		want string
	}{
		{fasthttputil.ErrConnectionClosed, ""},
		{&net.OpError{Op: "write", Err: net.ErrClosed}, ""},
		{io.ErrNoProgress, "warn"},
	} {
		var log bytes.Buffer
		fastLog{zerolog.New(&log).Level(zerolog.InfoLevel)}.Printf("error when serving connection: %v", c.err)
		if got := log.String(); (got == "") != (c.want == "") || !strings.Contains(got, c.want) {
			t.Errorf("%v is logged as %q", c.err, got)
		}
	}
}
