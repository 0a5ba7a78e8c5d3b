package bench

import (
	"io"
	"net"
	"runtime"
	"strings"
	"testing"
	"time"
)

// A read's stamp is of when its bytes came, however much later it is made.
func TestStampsAreOfTheComing(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	plain, err := net.Dial("tcp", listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	server, err := listener.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	client := stamped(plain)
	defer client.Close()
	c, is := client.(came)
	if runtime.GOOS != "linux" && !is {
		t.Skip("this system's kernel tells no times")
	} else if !is {
		t.Fatalf("a %T is not stamped", client)
	}
	buffer := make([]byte, 100)
	for range 5 {
		before := time.Now()
		if _, err := server.Write([]byte("token")); err != nil {
			t.Fatal(err)
		}
		after := time.Now() // on loopback, what is written has come
		for time.Now().Equal(after) {
		}
		if n, err := client.Read(buffer); err != nil || n != 5 {
			t.Fatalf("read %d bytes, %v", n, err)
		}
		// The wall clock may be slewed between the two: by little.
		const slew = 50 * time.Microsecond
		if at := c.came(); at.Before(before.Add(-slew)) || at.After(after.Add(slew)) {
			t.Errorf("stamped %v after the write began, which took %v", at.Sub(before), after.Sub(before))
		}
	}
	if err := server.Close(); err != nil {
		t.Fatal(err)
	}
	if n, err := client.Read(buffer); n != 0 || err != io.EOF { //nolint:errorlint // io.Reader asks for EOF itself
		t.Errorf("at the end: %d bytes, %v; want io.EOF", n, err)
	}
	if err := client.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := client.Read(buffer); err == nil {
		t.Error("a closed connection reads without an error")
	}
	if n, err := client.Read(nil); n != 0 || err != nil {
		t.Errorf("an empty read: %d, %v", n, err)
	}
}

func TestReadDeadlinesHold(t *testing.T) {
	a, b, err := tcpPair()
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	defer b.Close()
	c := stamped(a)
	if err := c.SetReadDeadline(time.Now().Add(time.Millisecond)); err != nil {
		t.Fatal(err)
	}
	n, err := c.Read(make([]byte, 1))
	if e, is := err.(net.Error); n != 0 || !is || !e.Timeout() { //nolint:errorlint // as callers of Read look at it
		t.Errorf("%d bytes, %v; want a timeout", n, err)
	}
}

func tcpPair() (a, b net.Conn, err error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, nil, err
	}
	defer listener.Close()
	if a, err = net.Dial("tcp", listener.Addr().String()); err != nil {
		return nil, nil, err
	}
	b, err = listener.Accept()
	return a, b, err
}

// The books are kept and every time is compared; how good the times are is for
// bench accuracy to say.
func TestAccuracy(t *testing.T) {
	for _, together := range []bool{false, true} {
		a := Accuracy{Streams: 20, Tokens: 6, First: 3 * time.Millisecond, Interval: 2 * time.Millisecond, Together: together, OwnClock: together}
		r, err := a.Run(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		d := r.Accuracy
		if r.Requests != 20 || r.TotalOutputTokens != 120 || r.Failed != 0 {
			t.Errorf("%d requests, %d tokens", r.Requests, r.TotalOutputTokens)
		}
		if d.TrueTTFT.P50 < 3 || d.TrueITL.Mean <= 0 || d.EachITL.Max < d.EachITL.P50 {
			t.Errorf("%+v", *d)
		}
		if want := map[bool]Stamps{true: ClientStamps, false: KernelStamps}[together]; r.Online.Client.Stamps != want && runtime.GOOS == "linux" {
			t.Errorf("times by the clock of %s, want %s", r.Online.Client.Stamps, want)
		}
		var text strings.Builder
		if err := d.WriteText(&text, r); err != nil || !strings.Contains(text.String(), "20, a token every 2 ms") {
			t.Errorf("%s%v", text.String(), err)
		}
	}
}

// A figure's error is that of the report, not of the truth's own spread.
func TestWorst(t *testing.T) {
	a := Distribution{Mean: 1, P50: 2, P90: 3, P99: 4, Max: 100}
	b := Distribution{Mean: 1.5, P50: 2, P90: 2.25, P99: 4, Max: 5}
	if got := worst(a, b); got != 0.75 {
		t.Errorf("%v", got)
	}
}
