package remote

import (
	"crypto/tls"
	"net"
	"strings"
	"testing"
)

const secret = "known to all of these"

// Each side of a connection finds out whether the other knows the secret and means the same cluster.
func TestCredentials(t *testing.T) {
	known := func(cluster, secret string) *tls.Config {
		c, err := credentials(cluster, secret)
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	host := known("c", secret)
	none := &tls.Config{InsecureSkipVerify: true}
	// What the server says of who connects, and who connects of the server.
	for name, c := range map[string]struct {
		client         *tls.Config
		server, caller string
	}{
		"the same":            {known("c", secret), "", ""},
		"another secret":      {known("c", secret+"!"), "bad certificate", errStranger.Error()},
		"another cluster":     {known("d", secret), "bad certificate", errStranger.Error()},
		"no certificate":      {none, "didn't provide a certificate", ""},
		"someone else's":      {&tls.Config{InsecureSkipVerify: true, Certificates: known("c", secret+"!").Certificates}, errStranger.Error(), ""},
		"TLS that is too old": {&tls.Config{InsecureSkipVerify: true, MaxVersion: tls.VersionTLS12}, "unsupported versions", "protocol version"},
	} {
		near, far := net.Pipe()
		said := make(chan error, 1)
		go func() {
			server := tls.Server(far, host)
			err := server.Handshake()
			if err == nil {
				_, err = server.Write([]byte("x"))
			}
			said <- err
			far.Close()
		}()
		client := tls.Client(near, c.client)
		err := client.Handshake()
		if _, readErr := client.Read(make([]byte, 1)); err == nil && c.server == "" {
			err = readErr
		}
		near.Close()
		for who, got := range map[string]struct {
			err  error
			want string
		}{"the server": {<-said, c.server}, "the caller": {err, c.caller}} {
			if got.want == "" && got.err != nil || got.want != "" && (got.err == nil || !strings.Contains(got.err.Error(), got.want)) {
				t.Errorf("%s: %s says %v, want %q", name, who, got.err, got.want)
			}
		}
	}
	if _, err := credentials("c", "short"); err == nil || !strings.Contains(err.Error(), "has 5 bytes; it must have at least 16") {
		t.Errorf("a short secret: %v", err)
	}
}

// Where to listen is one address and a port.
func TestCheckListen(t *testing.T) {
	for address, want := range map[string]string{
		"127.0.0.1:7": "", "[::1]:0": "", "host:65535": "",
		"7946": "missing port in address", "0.0.0.0:1": "the one address", ":1": "the one address", "[::]:1": "the one address", "h:70000": "a number up to 65535", "h:x": "a number up to",
	} {
		if err := CheckListen(address, ""); want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%s: %v, want %q", address, err, want)
		}
	}
	if err := CheckListen("0.0.0.0:1", "10.0.0.1:1"); err != nil {
		t.Error(err)
	}
	if err := CheckListen("0.0.0.0:1", "0.0.0.0:2"); err == nil || !strings.Contains(err.Error(), "being reached by others") {
		t.Error(err)
	}
}
