package main

import (
	"crypto"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/zocalo-go/zocalo/examples/internal/cli"
	"github.com/zocalo-go/zocalo/tlsx"
)

// prepare fills a folder with certificates whose paths have so many members,
// unless it has been filled. If demanded is set, those that are there must be
// so many too.
func prepare(dir string, length int, demanded bool) error {
	switch _, err := os.Stat(filepath.Join(dir, "server-chain.pem")); {
	case errors.Is(err, fs.ErrNotExist):
		return fill(dir, length)
	case err != nil:
		return err
	}
	cert, err := identity(dir, "server").Get()
	if err != nil {
		return err
	}
	// The chain in the file lacks the root, which the path has.
	if there := len(cert.Certificate) + 1; demanded && there != length {
		return cli.Usagef("the paths in %s have %d certificates, not %d; name a new folder for those", dir, there, length)
	}
	return nil
}

// fill makes a root, as many authorities below it as the length asks for, and
// below the last a server and a client. The keys of the authorities are
// forgotten: who has one can make certificates for any name.
func fill(dir string, length int) error {
	name := func(s string) pkix.Name {
		return pkix.Name{Organization: []string{"Zocalo lessons"}, CommonName: s}
	}
	root, err := tlsx.NewAuthority(tlsx.Template{Subject: name("root")})
	if err != nil {
		return err
	}
	issuer := root
	for i := range length - 2 {
		// The last may certify no further authority, the one above it one, and
		// so on.
		t := tlsx.Template{Subject: name(fmt.Sprintf("intermediate %d", i+1)), PathLen: new(length - 3 - i)}
		if issuer, err = issuer.Intermediate(t); err != nil {
			return err
		}
	}
	server, err := issuer.Issue(tlsx.Template{
		Subject: name("server"), Names: []string{"localhost", "server.test", "127.0.0.1", "::1"},
		Uses: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	})
	if err != nil {
		return err
	}
	client, err := issuer.Issue(tlsx.Template{
		Subject: name("jose"), Names: []string{"jose@client.test"},
		Uses: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	})
	if err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	write := func(name string, data []byte, err error, mode fs.FileMode) error {
		if err != nil {
			return err
		}
		return tlsx.WriteFile(filepath.Join(dir, name), data, mode, false)
	}
	if err := write("root.pem", tlsx.EncodeCertificates(root.Cert), nil, 0o644); err != nil {
		return err
	}
	serverKey, err := tlsx.EncodeKey(server.PrivateKey.(crypto.Signer), nil)
	if err := write("server-key.pem", serverKey, err, 0o600); err != nil {
		return err
	}
	clientKey, err := tlsx.EncodeKey(client.PrivateKey.(crypto.Signer), nil)
	if err := write("client-key.pem", clientKey, err, 0o600); err != nil {
		return err
	}
	chain, err := tlsx.Chain(client)
	if err := write("client-chain.pem", tlsx.EncodeCertificates(chain...), err, 0o644); err != nil {
		return err
	}
	// Last: where it is, all is.
	chain, err = tlsx.Chain(server)
	return write("server-chain.pem", tlsx.EncodeCertificates(chain...), err, 0o644)
}
