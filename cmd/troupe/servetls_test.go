package main

import (
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"io"
	nethttp "net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// The server talks TLS with a certificate from files, to keys from a file, and
// what is the operator's it serves elsewhere, as its log says.
func TestServeOverTLS(t *testing.T) {
	example := httptest.NewTLSServer(nil) // whose certificate is for 127.0.0.1
	example.Close()
	dir := t.TempDir()
	pair := example.TLS.Certificates[0]
	der, err := x509.MarshalPKCS8PrivateKey(pair.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	for name, data := range map[string][]byte{
		"cert": pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: pair.Certificate[0]}),
		"key":  pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}),
		"keys": []byte("ann: sesame\n"),
	} {
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	s := start(t, "--tls-cert", filepath.Join(dir, "cert"), "--tls-key", filepath.Join(dir, "key"),
		"--api-key-file", filepath.Join(dir, "keys"), "--admin-listen", "127.0.0.1:0")
	if !strings.HasPrefix(s.url, "https://127.0.0.1:") {
		t.Fatalf("it is at %s", s.url)
	}
	var admin string
	for admin == "" {
		var line struct{ Message, Address string }
		text, err := s.logs.ReadBytes('\n')
		if err != nil || json.Unmarshal(text, &line) != nil {
			t.Fatalf("%v, %s", err, text)
		}
		if strings.Contains(line.Message, "metrics") {
			admin = "https://" + line.Address
		}
	}
	client := example.Client()
	get := func(url string) (int, string) {
		t.Helper()
		req, err := nethttp.NewRequest(nethttp.MethodGet, url, nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("X-Api-Key", "sesame")
		resp, err := client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		body, _ := io.ReadAll(resp.Body)
		return resp.StatusCode, string(body)
	}
	for url, want := range map[string]int{s.url + "/models": 200, strings.TrimSuffix(s.url, "/v1") + "/metrics": 404, admin + "/metrics": 200} {
		if status, body := get(url); status != want {
			t.Errorf("%s: %d %s, want %d", url, status, body, want)
		}
	}
	client.CloseIdleConnections()
	s.signal(syscall.SIGTERM)
	s.end(0)
}
