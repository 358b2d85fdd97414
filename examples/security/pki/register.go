package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/x509"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"time"

	"github.com/zocalo-go/zocalo/examples/internal/cli"
	"github.com/zocalo-go/zocalo/tlsx"
)

// An entry of the register says that somebody has made sure who holds a key.
// It is a line of JSON.
type entry struct {
	Key     string    `json:"key"`     // SHA-256 of the public key, in hexadecimal
	Subject string    `json:"subject"` // as the request has it
	Names   []string  `json:"names"`   // likewise
	By      string    `json:"by"`      // who has checked
	How     string    `json:"how"`     // what has been checked
	At      time.Time `json:"at"`
}

// entryOf is what a request asks for. The key is part of it: the same name with
// another key is another request.
func entryOf(req *x509.CertificateRequest) entry {
	e := entry{
		Key:     fmt.Sprintf("%x", sha256.Sum256(req.RawSubjectPublicKeyInfo)),
		Subject: req.Subject.String(),
		Names:   slices.Concat(req.DNSNames, req.EmailAddresses),
	}
	for _, ip := range req.IPAddresses {
		e.Names = append(e.Names, ip.String())
	}
	for _, u := range req.URIs {
		e.Names = append(e.Names, u.String())
	}
	return e
}

func register(flags *flag.FlagSet) cli.Action {
	requestFile := flags.String("request", "", "`file` with the request")
	registerFile := flags.String("register", "", "`file` of the register")
	by := flags.String("by", "", "`name` of who has checked")
	how := flags.String("how", "", "`what` has been checked, and how")
	return func(ctx context.Context, env *cli.Env) error {
		if err := needed(flags, "request", "register", "by", "how"); err != nil {
			return err
		}
		req, err := readRequest(*requestFile)
		if err != nil {
			return err
		}
		e := entryOf(req)
		e.By, e.How, e.At = *by, *how, time.Now().UTC().Truncate(time.Second)
		line, err := json.Marshal(e)
		if err != nil {
			return err
		}
		old, err := tlsx.ReadFile(*registerFile)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		if err := tlsx.WriteFile(*registerFile, slices.Concat(old, line, []byte("\n")), 0o644, true); err != nil {
			return err
		}
		_, err = fmt.Fprintf(env.Stdout, "%s is registered, key %.16s…\n", e.Subject, e.Key)
		return err
	}
}

// registered returns the entry of a request. Its key, subject and names must be
// those that were checked, each of them.
func registered(name string, req *x509.CertificateRequest) (*entry, error) {
	data, err := tlsx.ReadFile(name)
	if err != nil {
		return nil, err
	}
	want := entryOf(req)
	lines := json.NewDecoder(bytes.NewReader(data))
	for {
		var e entry
		if err := lines.Decode(&e); err == io.EOF {
			return nil, fmt.Errorf("not signed: nobody has checked that key %.16s… belongs to %q with the names %q; that is what register is for", want.Key, want.Subject, want.Names)
		} else if err != nil {
			return nil, fmt.Errorf("the register %s is damaged: %w", name, err)
		}
		if e.Key == want.Key && e.Subject == want.Subject && slices.Equal(e.Names, want.Names) {
			return &e, nil
		}
	}
}
