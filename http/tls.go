package http

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"os"
	"time"

	"github.com/rs/zerolog"
)

// TLS says which files encrypt connections.
type TLS struct {
	// Cert and Key are a certificate, with those that sign it behind it, and
	// its private key, in PEM.
	Cert, Key string
	// ClientCA holds certificates in PEM; clients must then have one that is
	// signed by one of these. Default: they need none.
	ClientCA string
}

// Load reads the files, for a server that talks TLS 1.2 or later. They are
// read again when they change; what then is no certificate goes to the log, and
// the last good one stays.
func (t TLS) Load(log zerolog.Logger) (*tls.Config, error) {
	files := []string{t.Cert, t.Key}
	if t.ClientCA != "" {
		files = append(files, t.ClientCA)
	}
	failed := func(err error) {
		log.Error().Err(err).Msg("the TLS files have changed and cannot be used; the former ones stay")
	}
	f, err := newFresh(t.read, failed, time.Now, files...)
	if err != nil {
		return nil, err
	}
	return &tls.Config{
		MinVersion:         tls.VersionTLS12,
		GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) { return f.get(), nil },
	}, nil
}

// read is the configuration that the files make now.
func (t TLS) read() (*tls.Config, error) {
	pair, err := tls.LoadX509KeyPair(t.Cert, t.Key)
	if err != nil {
		return nil, fmt.Errorf("certificate %s with key %s: %w", t.Cert, t.Key, err)
	}
	cfg := &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{pair}, NextProtos: []string{"http/1.1"}}
	if t.ClientCA == "" {
		return cfg, nil
	}
	pem, err := os.ReadFile(t.ClientCA)
	if err != nil {
		return nil, err
	}
	cfg.ClientCAs, cfg.ClientAuth = x509.NewCertPool(), tls.RequireAndVerifyClientCert
	if !cfg.ClientCAs.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("%s: there is no certificate in PEM in it", t.ClientCA)
	}
	return cfg, nil
}
