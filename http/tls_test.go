package http

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net"
	nethttp "net/http"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/troupe-llm/troupe/actors"
)

// authority signs certificates.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	pem  []byte
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	a := &authority{}
	var der []byte
	der, a.key = sign(t, &x509.Certificate{
		Subject: pkix.Name{CommonName: "authority"}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}, nil)
	var err error
	if a.cert, err = x509.ParseCertificate(der); err != nil {
		t.Fatal(err)
	}
	a.pem = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	return a
}

// issue makes a certificate of this name for localhost, and its key.
func (a *authority) issue(t *testing.T, name string) (cert, key []byte) {
	t.Helper()
	der, private := sign(t, &x509.Certificate{
		Subject: pkix.Name{CommonName: name}, DNSNames: []string{"localhost"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}, a)
	bare, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: bare})
}

func sign(t *testing.T, c *x509.Certificate, by *authority) ([]byte, *ecdsa.PrivateKey) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c.SerialNumber, c.NotBefore, c.NotAfter = big.NewInt(1), time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
	parent, signer := c, key
	if by != nil {
		parent, signer = by.cert, by.key
	}
	der, err := x509.CreateCertificate(rand.Reader, c, parent, &key.PublicKey, signer)
	if err != nil {
		t.Fatal(err)
	}
	return der, key
}

// encryptedFiles are a server's certificate and key in files.
func encryptedFiles(t *testing.T, a *authority, name string) TLS {
	t.Helper()
	dir := t.TempDir()
	f := TLS{Cert: filepath.Join(dir, "cert.pem"), Key: filepath.Join(dir, "key.pem")}
	cert, key := a.issue(t, name)
	write(t, f.Cert, string(cert))
	write(t, f.Key, string(key))
	return f
}

// startTLS serves eng on a loopback socket with TLS, for clients that trust a.
func startTLS(t *testing.T, eng engine, cfg Config, f TLS, a *authority, mine ...tls.Certificate) *served {
	t.Helper()
	var err error
	if cfg.TLS, err = f.Load(zerolog.Nop()); err != nil {
		t.Fatal(err)
	}
	h := startTCP(t, eng, cfg)
	roots := x509.NewCertPool()
	roots.AddCert(a.cert)
	tr := h.client.Transport.(*nethttp.Transport)
	tr.TLSClientConfig = &tls.Config{RootCAs: roots, Certificates: mine, ServerName: "localhost"}
	return h
}

func (h *served) dialTLS() *tls.Conn {
	h.t.Helper()
	c, err := tls.Dial("tcp", h.ln.Addr().String(), h.client.Transport.(*nethttp.Transport).TLSClientConfig)
	if err != nil {
		h.t.Fatal(err)
	}
	h.t.Cleanup(func() { c.Close() })
	return c
}

// Answers and streams come over TLS as they do without.
func TestTLS(t *testing.T) {
	a := newAuthority(t)
	h := startTLS(t, answers(), Config{}, encryptedFiles(t, a, "one"), a)
	for body, want := range map[string]string{`{"prompt":"a"}`: `"text":"b"`, streamed: "data: [DONE]"} {
		for range 3 { // on one connection
			resp, err := h.client.Post("https://localhost/v1/completions", typeJSON, strings.NewReader(body))
			if err != nil {
				t.Fatal(err)
			}
			text, err := io.ReadAll(resp.Body)
			resp.Body.Close()
			if err != nil || !strings.Contains(string(text), want) || resp.TLS == nil {
				t.Errorf("%v, %s %s, want %s", err, resp.Status, text, want)
			}
		}
	}
	c, err := net.Dial("tcp", h.ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	fmt.Fprintf(c, "GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n")
	if answer, _ := io.ReadAll(c); bytes.Contains(answer, []byte("200")) {
		t.Errorf("without TLS: %q", answer)
	}
	old := h.client.Transport.(*nethttp.Transport).TLSClientConfig.Clone()
	old.MinVersion, old.MaxVersion = tls.VersionTLS10, tls.VersionTLS11
	if c, err := tls.Dial("tcp", h.ln.Addr().String(), old); err == nil {
		c.Close()
		t.Error("it talks TLS 1.1")
	}
}

// A client that leaves is noticed where only the end of the connection below
// can tell: TLS leaves a last word before it, unread.
func TestVanishedClientOverTLS(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("only Linux tells of an end behind unread bytes")
	}
	a := newAuthority(t)
	for _, body := range []string{`{"prompt":"a"}`, streamed} {
		st := newFakeStream(started("a"), says("b"))
		h := startTLS(t, engineOf(func(int, *actors.Request) (*fakeStream, error) { return st, nil }), Config{}, encryptedFiles(t, a, "one"), a)
		c := h.dialTLS()
		fmt.Fprintf(c, "POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
		happens(t, "taking the first event", st.taken)
		c.Close()
		happens(t, "cancelling", st.canceled)
	}
}

// The same without TLS, of one that had sent more than its request.
func TestVanishedClientThatSentMore(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("only Linux tells of an end behind unread bytes")
	}
	st := newFakeStream(started("a"), says("b"))
	h := startTCP(t, engineOf(func(int, *actors.Request) (*fakeStream, error) { return st, nil }), Config{})
	c, _ := h.raw("POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: 14\r\n\r\n" + `{"prompt":"a"}`)
	happens(t, "taking the first event", st.taken)
	fmt.Fprint(c, "GET / HTTP/1.1\r\n")
	c.Close()
	happens(t, "cancelling", st.canceled)
}

// Whoever may connect shows a certificate, if it must.
func TestClientCertificates(t *testing.T) {
	a, other := newAuthority(t), newAuthority(t)
	f := encryptedFiles(t, a, "one")
	f.ClientCA = filepath.Join(t.TempDir(), "ca.pem")
	write(t, f.ClientCA, string(a.pem))
	for _, tc := range []struct {
		name string
		by   *authority
		ok   bool
	}{{"none", nil, false}, {"another's", other, false}, {"the right one's", a, true}} {
		var mine []tls.Certificate
		if tc.by != nil {
			pair, err := tls.X509KeyPair(tc.by.issue(t, "client"))
			if err != nil {
				t.Fatal(err)
			}
			mine = append(mine, pair)
		}
		h := startTLS(t, script(), Config{}, f, a, mine...)
		resp, err := h.client.Get("https://localhost/health")
		if err == nil {
			resp.Body.Close()
		}
		if (err == nil) != tc.ok {
			t.Errorf("with %s certificate: %v", tc.name, err)
		}
	}
}

// A certificate that is renewed is shown at the next handshake; half of one
// leaves the one before.
func TestCertificateIsReadAgain(t *testing.T) {
	a := newAuthority(t)
	f := encryptedFiles(t, a, "one")
	now := time.Unix(1000, 0)
	var told []error
	files, err := newFresh(f.read, func(err error) { told = append(told, err) }, func() time.Time { return now }, f.Cert, f.Key)
	if err != nil {
		t.Fatal(err)
	}
	shown := func() string {
		now = now.Add(freshFor)
		leaf, err := x509.ParseCertificate(files.get().Certificates[0].Certificate[0])
		if err != nil {
			t.Fatal(err)
		}
		return leaf.Subject.CommonName
	}
	cert, key := a.issue(t, "the second")
	for _, step := range []struct {
		file, text string
		want       string
		told       int
	}{
		{f.Cert, string(cert), "one", 1}, // its key has not come yet
		{f.Key, string(key), "the second", 1},
		{f.Key, "nonsense", "the second", 2},
	} {
		write(t, step.file, step.text)
		if got := shown(); got != step.want || len(told) != step.told {
			t.Errorf("after %s it is %q, want %q; told %v", filepath.Base(step.file), got, step.want, told)
		}
	}
}

func TestTLSFaults(t *testing.T) {
	a := newAuthority(t)
	f := encryptedFiles(t, a, "one")
	empty := filepath.Join(t.TempDir(), "empty")
	write(t, empty, "")
	for _, tc := range []struct {
		f    TLS
		want string
	}{
		{TLS{Cert: "/nonexistent/cert", Key: f.Key}, "/nonexistent/cert"},
		{TLS{Cert: f.Cert, Key: empty}, empty},
		{TLS{Cert: f.Key, Key: f.Cert}, f.Key},
		{TLS{Cert: f.Cert, Key: f.Key, ClientCA: empty}, empty + ": there is no certificate in PEM"},
	} {
		if _, err := tc.f.Load(zerolog.Nop()); err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%+v: %v, want %s", tc.f, err, tc.want)
		}
	}
}

// What is the operator's is served on a listener of its own, and nowhere else,
// until the last answer has ended.
func TestAdmin(t *testing.T) {
	st := newFakeStream(started("a"))
	h := startTCP(t, engineOf(func(int, *actors.Request) (*fakeStream, error) { return st, nil }), Config{Admin: true, Profiling: true, APIKeys: []string{"k"}})
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- h.ServeAdmin(ln) }()
	status := func(addr net.Addr, path string) int {
		req, err := nethttp.NewRequest("GET", "http://"+addr.String()+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("X-Api-Key", "k")
		resp, err := (&nethttp.Client{Transport: &nethttp.Transport{DisableKeepAlives: true}}).Do(req)
		if err != nil {
			return 0
		}
		resp.Body.Close()
		return resp.StatusCode
	}
	for path, want := range map[string][2]int{ // of clients, of the operator
		"/metrics": {404, 200}, "/stats": {404, 200}, "/debug/pprof/cmdline": {404, 200},
		"/health": {200, 200}, "/ready": {200, 200}, "/version": {200, 200}, "/": {200, 200},
		"/v1/models": {200, 404}, "/tokenizer_info": {200, 404},
	} {
		if got := [2]int{status(h.ln.Addr(), path), status(ln.Addr(), path)}; got != want {
			t.Errorf("%s: %v, want %v", path, got, want)
		}
	}
	stream := h.post("/v1/completions", streamed, "X-Api-Key: k")
	down := make(chan error, 1)
	go func() { down <- h.Shutdown(t.Context()) }()
	h.await("draining", func() bool { return status(ln.Addr(), "/ready") == 503 })
	if got := status(ln.Addr(), "/metrics"); got != 200 {
		t.Errorf("while it drains: %d", got)
	}
	st.push(ends("stop", 1, 0))
	h.read(stream)
	if err := happens(t, "stopping", down); err != nil {
		t.Error(err)
	}
	if err := happens(t, "stopping", ended); err != nil {
		t.Error(err)
	}
	if got := status(ln.Addr(), "/metrics"); got != 0 {
		t.Errorf("when it has ended: %d", got)
	}
}
