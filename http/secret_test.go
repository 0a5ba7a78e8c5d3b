package http

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"syscall"
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
		"GET / HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer sesame\r\nno header\r\n\r\n",
		"sesame\r\n\r\n",
		"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: sesame\r\n\r\n",
		"GET / HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer sesame\x01\r\n\r\n",
		"GET / HTTP/1.1\r\nHost: localhost\r\n: sesame\r\n\r\n",
		"GET /sesame\x01 HTTP/1.1\r\nHost: localhost\r\n\r\n",
		"GET / sesame\r\nHost: localhost\r\n\r\n",
		"GET http://sesame:1:1/ HTTP/1.1\r\nHost: localhost\r\n\r\n",
		"POST / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: sesame\r\n\r\n",
		"POST /tokenize HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\nsesame\r\n",
		"POST /tokenize HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nasesame\r\n",
		"POST /tokenize HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nAuthorization: sesame\r\n\r\n",
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
		{errors.New(`invalid header value "sesame"`), ""}, // what a client sends is its own fault, and no warning
		{&net.OpError{Op: "read", Err: syscall.ENETDOWN}, "warn"},
	} {
		var log bytes.Buffer
		fastLog{zerolog.New(&log).Level(zerolog.InfoLevel)}.Printf("error when serving connection: %v", c.err)
		shown := log.String()
		fastLog{zerolog.New(&log)}.Printf("error when serving connection: %v", c.err) // all of it, down to debug
		if strings.Contains(log.String(), "sesame") {
			t.Errorf("%v is quoted: %s", c.err, log.String())
		}
		if got := shown; (got == "") != (c.want == "") || !strings.Contains(got, c.want) {
			t.Errorf("%v is logged as %q", c.err, got)
		}
	}
}
