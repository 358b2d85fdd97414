package main

import (
	"context"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/zocalo-go/zocalo/examples/internal/cli"
	"github.com/zocalo-go/zocalo/tlsx"
)

// maxOCSP bounds a question or an answer of OCSP. Ours have some hundred bytes.
const maxOCSP = 64 << 10

// reasons for taking a certificate back, with their numbers (RFC 5280 section
// 5.3.1).
var reasons = map[string]int{
	"unspecified": 0, "key-stolen": 1, "holder-changed": 3, "newer-one": 4, "no-longer-needed": 5,
}

func revoke(fs *flag.FlagSet) cli.Action {
	ca := addCAFlags(fs)
	listFile := fs.String("crl", "", "`file` of the list: read if it is there, and written again")
	reason := cli.Choice(fs, "reason", "unspecified", "why", "unspecified", "key-stolen", "holder-changed", "newer-one", "no-longer-needed")
	days := cli.Number(fs, "days", 7, 1, 365, "the list is good for so many `days`; who verifies wants a newer one then")
	return func(ctx context.Context, env *cli.Env) error {
		if err := needed(fs, "ca", "ca-key", "crl"); err != nil {
			return err
		}
		a, err := ca.authority(env)
		if err != nil {
			return err
		}
		var entries []x509.RevocationListEntry
		number := int64(1)
		if exists(*listFile) {
			old, err := ownCRL(*listFile, a.Cert)
			if err != nil {
				return err
			}
			entries = old.RevokedCertificateEntries
			number = old.Number.Int64() + 1
		}
		now := time.Now()
		for _, name := range env.Args {
			certs, err := readCertificates(name)
			if err != nil {
				return err
			}
			c := certs[0]
			if err := c.CheckSignatureFrom(a.Cert); err != nil {
				return fmt.Errorf("%s is none of this authority's: %w", name, err)
			}
			if slices.ContainsFunc(entries, func(e x509.RevocationListEntry) bool { return e.SerialNumber.Cmp(c.SerialNumber) == 0 }) {
				return fmt.Errorf("%s has been revoked already", name)
			}
			entries = append(entries, x509.RevocationListEntry{SerialNumber: c.SerialNumber, RevocationTime: now, ReasonCode: reasons[*reason]})
			fmt.Fprintf(env.Stdout, "%s, serial %x, is revoked\n", tlsx.Title(c), c.SerialNumber)
		}
		list, err := a.CRL(number, entries, now, now.Add(time.Duration(*days)*day))
		if err != nil {
			return err
		}
		// Unlike a key, a list is there to be replaced by the next.
		if err := tlsx.WriteFile(*listFile, tlsx.EncodeCRL(list), 0o644, true); err != nil {
			return err
		}
		_, err = fmt.Fprintf(env.Stdout, "wrote %s: list %d with %d certificates, good until %s\n", *listFile, number, len(entries), list.NextUpdate.UTC().Format(time.RFC3339))
		return err
	}
}

// ownCRL reads a list that the authority itself must have signed.
func ownCRL(name string, ca *x509.Certificate) (*x509.RevocationList, error) {
	list, err := readCRL(name)
	if err != nil {
		return nil, err
	}
	if err := list.CheckSignatureFrom(ca); err != nil {
		return nil, fmt.Errorf("%s is not this authority's list: %w", name, err)
	}
	if list.Number == nil || !list.Number.IsInt64() {
		return nil, fmt.Errorf("%s has no number to count on from", name)
	}
	return list, nil
}

func ocsp(fs *flag.FlagSet) cli.Action {
	addr := cli.AddrFlags(fs, 0)
	ca := addCAFlags(fs)
	listFile := fs.String("crl", "", "`file` of the list of revoked certificates, read again for each question")
	return func(ctx context.Context, env *cli.Env) error {
		if err := needed(fs, "ca", "ca-key", "crl"); err != nil {
			return err
		}
		a, err := ca.authority(env)
		if err != nil {
			return err
		}
		if _, err := ownCRL(*listFile, a.Cert); err != nil {
			return err
		}
		var config net.ListenConfig
		ln, err := config.Listen(ctx, "tcp", addr.String())
		if err != nil {
			return err
		}
		defer ln.Close()
		if err := env.Listening(ln.Addr()); err != nil {
			return err
		}
		responder := &responder{authority: a, list: *listFile, env: env}
		server := &http.Server{
			Handler:     responder,
			ReadTimeout: 10 * time.Second, WriteTimeout: 10 * time.Second, IdleTimeout: 30 * time.Second,
			MaxHeaderBytes: 16 << 10,
		}
		closed := make(chan struct{})
		stop := context.AfterFunc(ctx, func() {
			defer close(closed)
			grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
			defer cancel()
			if server.Shutdown(grace) != nil {
				server.Close()
			}
		})
		err = server.Serve(ln)
		if stop() {
			return err // it failed by itself
		}
		<-closed
		return nil
	}
}

// A responder answers questions of OCSP, by POST or by GET (RFC 6960 appendix
// A.1).
type responder struct {
	authority *tlsx.Authority
	list      string
	env       *cli.Env
}

func (r *responder) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	question, err := questionOf(w, req)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	list, err := ownCRL(r.list, r.authority.Cert)
	if err != nil {
		fmt.Fprintf(r.env.Stderr, "no answer: %v\n", err)
		http.Error(w, "the list is not there", http.StatusServiceUnavailable)
		return
	}
	// The answer holds as long as the list it comes from, and an hour at most.
	now := time.Now()
	until := now.Add(time.Hour)
	if list.NextUpdate.Before(until) {
		until = list.NextUpdate
	}
	answer, err := r.authority.AnswerOCSP(question, list.RevokedCertificateEntries, now, until)
	if err != nil {
		fmt.Fprintf(r.env.Stderr, "no answer: %v\n", err)
		http.Error(w, "no answer", http.StatusInternalServerError)
		return
	}
	fmt.Fprintf(r.env.Stdout, "%s: %d bytes asked, %d answered\n", req.RemoteAddr, len(question), len(answer))
	w.Header().Set("Content-Type", "application/ocsp-response")
	_, _ = w.Write(answer) // a client that left needs none
}

// questionOf reads the question out of a request.
func questionOf(w http.ResponseWriter, req *http.Request) ([]byte, error) {
	switch req.Method {
	case http.MethodPost:
		return io.ReadAll(http.MaxBytesReader(w, req.Body, maxOCSP))
	case http.MethodGet:
		text, err := url.PathUnescape(strings.TrimPrefix(req.URL.EscapedPath(), "/"))
		if err != nil {
			return nil, err
		}
		return base64.StdEncoding.DecodeString(text)
	}
	return nil, errors.New("ask by POST or GET")
}
