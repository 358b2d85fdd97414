package main

import (
	"bytes"
	"context"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/zocalo-go/zocalo/examples/internal/cli"
	"github.com/zocalo-go/zocalo/tlsx"
)

// maxBlocks bounds what view shows of a file.
const maxBlocks = 2000

func view(fs *flag.FlagSet) cli.Action {
	phraseFile := passphraseFlag(fs, "opens locked keys")
	return func(ctx context.Context, env *cli.Env) error {
		if len(env.Args) == 0 {
			return cli.Usagef("view wants the names of PEM files")
		}
		phrase, err := passphrase(env, *phraseFile)
		if err != nil {
			return err
		}
		for _, name := range env.Args {
			data, err := tlsx.ReadFile(name)
			if err != nil {
				return err
			}
			if err := viewBlocks(env.Stdout, data, phrase); err != nil {
				return fmt.Errorf("%w (%s)", err, name)
			}
		}
		return nil
	}
}

// viewBlocks shows every block of a PEM file.
func viewBlocks(w io.Writer, data []byte, phrase string) error {
	shown := 0
	for block, rest := pem.Decode(data); block != nil; block, rest = pem.Decode(rest) {
		if shown++; shown > maxBlocks {
			return fmt.Errorf("more than %d blocks", maxBlocks)
		}
		text, err := viewBlock(block, phrase)
		if err != nil {
			return err
		}
		if _, err := io.WriteString(w, text); err != nil {
			return err
		}
	}
	if shown == 0 {
		return errors.New("there is no PEM block in it: no line \"-----BEGIN …-----\" with its end")
	}
	return nil
}

func viewBlock(block *pem.Block, phrase string) (string, error) {
	one := pem.EncodeToMemory(block)
	switch {
	case block.Type == "CERTIFICATE":
		certs, err := tlsx.ParseCertificates(one)
		if err != nil {
			return "", err
		}
		return tlsx.Text(certs[0]), nil
	case block.Type == "CERTIFICATE REQUEST", block.Type == "NEW CERTIFICATE REQUEST":
		req, err := tlsx.ParseRequest(one)
		if err != nil {
			return "", err
		}
		return tlsx.Text(req), nil
	case block.Type == "X509 CRL":
		list, err := tlsx.ParseCRL(one)
		if err != nil {
			return "", err
		}
		return tlsx.Text(list), nil
	case block.Type == "PUBLIC KEY":
		key, err := x509.ParsePKIXPublicKey(block.Bytes)
		if err != nil {
			return "", err
		}
		return tlsx.Text(key), nil
	case strings.HasSuffix(block.Type, "PRIVATE KEY"):
		key, err := tlsx.ParseKey(one, phrase)
		if err != nil {
			return "", err
		}
		return tlsx.Text(key), nil
	}
	return fmt.Sprintf("a block %q of %d bytes\n", block.Type, len(block.Bytes)), nil
}

func verify(fs *flag.FlagSet) cli.Action {
	ca := fs.String("ca", "", "`file` with the authorities that we trust")
	name := fs.String("name", "", "`name` that a server's certificate must have; none is looked for without it")
	use := cli.Choice(fs, "use", "any", "what the certificate must be good for", "any", "client", "server")
	crl := fs.String("crl", "", "`file` with the authority's list of revoked certificates")
	ocspURL := fs.String("ocsp", "", "`URL` of the authority's OCSP service, to be asked whether the certificate is revoked")
	at := cli.Number(fs, "in", time.Duration(0), -100*365*day, 100*365*day, "verify as if so much `time` had passed")
	return func(ctx context.Context, env *cli.Env) error {
		if err := needed(fs, "ca"); err != nil {
			return err
		}
		if len(env.Args) != 1 {
			return cli.Usagef("verify wants the name of one file: the certificate, and perhaps those between it and the authority")
		}
		chain, err := readCertificates(env.Args[0])
		if err != nil {
			return err
		}
		opts := tlsx.VerifyOptions{Name: *name, Uses: uses[*use], Time: time.Now().Add(*at)}
		if opts.Roots, err = readCertificates(*ca); err != nil {
			return err
		}
		if *crl != "" {
			list, err := readCRL(*crl)
			if err != nil {
				return err
			}
			opts.CRLs = []*x509.RevocationList{list}
		}
		if *ocspURL != "" {
			if opts.OCSP, err = askOCSP(ctx, *ocspURL, chain[0], issuerOf(chain, opts.Roots)); err != nil {
				return err
			}
		}
		path, err := tlsx.Verify(chain, opts)
		if e, ok := errors.AsType[*tlsx.RefusalError](err); ok {
			return fmt.Errorf("%s is refused: %s: %s (%s)", env.Args[0], e.Reason, e.Detail, e.Rule)
		}
		if err != nil {
			return err
		}
		var titles []string
		for _, c := range path {
			titles = append(titles, tlsx.Title(c))
		}
		_, err = fmt.Fprintf(env.Stdout, "%s: OK, path %s\n", env.Args[0], strings.Join(titles, " ← "))
		return err
	}
}

// issuerOf finds who signed the first of a chain; itself if nobody is found,
// and then no answer will fit.
func issuerOf(chain, roots []*x509.Certificate) *x509.Certificate {
	for _, list := range [][]*x509.Certificate{chain[1:], roots} {
		for _, c := range list {
			if bytes.Equal(c.RawSubject, chain[0].RawIssuer) && chain[0].CheckSignatureFrom(c) == nil {
				return c
			}
		}
	}
	return chain[0]
}

// readCRL reads a list of revoked certificates.
func readCRL(name string) (*x509.RevocationList, error) {
	data, err := tlsx.ReadFile(name)
	if err != nil {
		return nil, err
	}
	list, err := tlsx.ParseCRL(data)
	if err != nil {
		return nil, fmt.Errorf("%w (%s)", err, name)
	}
	return list, nil
}

// askOCSP asks an authority about a certificate over HTTP (RFC 6960 appendix
// A). Plain HTTP will do: the answer is signed.
func askOCSP(ctx context.Context, url string, cert, issuer *x509.Certificate) ([]byte, error) {
	question, err := tlsx.NewOCSPRequest(cert, issuer)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(question))
	if err != nil {
		return nil, cli.Usagef("-ocsp: %v", err)
	}
	req.Header.Set("Content-Type", "application/ocsp-request")
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}} // of our own: nothing to share
	resp, err := client.Do(req)
	if err != nil {
		return nil, fmt.Errorf("cannot ask %s: %w", url, err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxOCSP+1))
	if err != nil {
		return nil, fmt.Errorf("cannot read the answer of %s: %w", url, err)
	}
	if resp.StatusCode != http.StatusOK || len(body) > maxOCSP {
		return nil, fmt.Errorf("%s answered with status %s and %d bytes or more", url, resp.Status, len(body))
	}
	return body, nil
}

// exists reports whether there is a file.
func exists(name string) bool {
	_, err := os.Lstat(name)
	return err == nil
}
