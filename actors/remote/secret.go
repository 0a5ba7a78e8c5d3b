package remote

import (
	"crypto/ed25519"
	"crypto/pbkdf2"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"math/big"
	"time"
)

// LeastSecret is how many bytes a secret has at least. Whoever reaches a host can try secrets against
// the key it shows, at leisure and elsewhere: one that a person made up does not withstand that.
const LeastSecret = 16

// stretched is how many rounds a guess at the secret costs: some 50 ms.
const stretched = 200_000

// credentials are what hosts of a cluster know each other by: a key pair made of the secret they share,
// the same on all. Each side of a connection shows a certificate with that public key, which it cannot
// use without the private one. So there is no file to hand out and no authority to run, and neither who
// connects nor who is connected to passes without the secret.
func credentials(cluster, secret string) (*tls.Config, error) {
	if len(secret) < LeastSecret {
		return nil, errSecret(secret)
	}
	seed, err := pbkdf2.Key(sha256.New, secret, []byte("troupe cluster "+cluster), stretched, ed25519.SeedSize)
	if err != nil {
		return nil, err
	}
	private := ed25519.NewKeyFromSeed(seed)
	public := private.Public().(ed25519.PublicKey)
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().AddDate(100, 0, 0)}
	shown, err := x509.CreateCertificate(rand.Reader, template, template, public, private)
	if err != nil {
		return nil, err
	}
	return &tls.Config{
		MinVersion:             tls.VersionTLS13,
		Certificates:           []tls.Certificate{{Certificate: [][]byte{shown}, PrivateKey: private}},
		ClientAuth:             tls.RequireAnyClientCert,
		InsecureSkipVerify:     true, // names and authorities say nothing here: VerifyConnection looks at the key
		SessionTicketsDisabled: true,
		VerifyConnection: func(c tls.ConnectionState) error {
			if len(c.PeerCertificates) == 0 || !public.Equal(c.PeerCertificates[0].PublicKey) {
				return errStranger
			}
			return nil
		},
	}, nil
}

var errStranger = errors.New("the other side does not know the cluster's secret")

func errSecret(secret string) error {
	return fmt.Errorf("the cluster's secret has %d bytes; it must have at least %d, best random ones", len(secret), LeastSecret)
}
