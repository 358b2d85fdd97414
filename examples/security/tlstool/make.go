package main

import (
	"context"
	"crypto"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/zocalo-go/zocalo/examples/internal/cli"
	"github.com/zocalo-go/zocalo/tlsx"
)

// keyPassword opens encrypted-key.pem. It is no secret.
const keyPassword = "opensesame"

const day = 24 * time.Hour

// A holder is a certificate of the folder, with its key.
type holder struct {
	name  string
	about string
	cert  *x509.Certificate
	key   crypto.Signer
	chain []*x509.Certificate // leaf first, without the root; nil for an authority
}

// A maker makes holders, one after the other, until something goes wrong.
type maker struct {
	now     time.Time
	keys    tlsx.KeyType
	holders []holder
	err     error
}

// template is what all have in common.
func (m *maker) template(name string, from, to time.Duration) tlsx.Template {
	t := tlsx.Template{
		Subject:   pkix.Name{Organization: []string{"Zocalo lessons"}, CommonName: name},
		NotBefore: m.now.Add(from),
		NotAfter:  m.now.Add(to),
	}
	if m.err == nil {
		t.Key, m.err = tlsx.NewKey(m.keys)
	}
	return t
}

// authority makes a root, or what stands below an authority.
func (m *maker) authority(above *tlsx.Authority, t tlsx.Template, about string) *tlsx.Authority {
	if m.err != nil {
		return nil
	}
	var a *tlsx.Authority
	if above == nil {
		a, m.err = tlsx.NewAuthority(t)
	} else {
		a, m.err = above.Intermediate(t)
	}
	if m.err != nil {
		return nil
	}
	m.holders = append(m.holders, holder{t.Subject.CommonName, about, a.Cert, a.Key, nil})
	return a
}

// leaf has an authority certify a server or a client.
func (m *maker) leaf(issuer *tlsx.Authority, t tlsx.Template, about string) {
	if m.err != nil {
		return
	}
	c, err := issuer.Issue(t)
	if err != nil {
		m.err = err
		return
	}
	chain, err := tlsx.Chain(c)
	if err != nil {
		m.err = err
		return
	}
	m.holders = append(m.holders, holder{t.Subject.CommonName, about, chain[0], t.Key, chain})
}

// lesson makes all certificates. The faulty ones have one fault each: the
// authorities began a year ago, so that whoever was certified two months
// ago was certified by an authority that was valid.
func lesson(now time.Time, keys tlsx.KeyType) ([]holder, error) {
	m := &maker{now: now, keys: keys}
	t := m.template("root", -365*day, 3650*day)
	root := m.authority(nil, t, "signs itself: whom clients and servers trust")
	t = m.template("intermediate", -365*day, 1825*day)
	t.PathLen = new(0)
	intermediate := m.authority(root, t, "below root; no authority may stand below it")

	server := func(name string, from, to time.Duration) tlsx.Template {
		t := m.template(name, from, to)
		t.Names = []string{"localhost", "server.test", "127.0.0.1"}
		t.Uses = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
		return t
	}
	client := func(name string, from, to time.Duration) tlsx.Template {
		t := m.template(name, from, to)
		t.Names = []string{"client.test"}
		t.Uses = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
		return t
	}
	m.leaf(intermediate, server("server", -5*time.Minute, 365*day), "good: for localhost, server.test, 127.0.0.1")
	m.leaf(intermediate, client("client", -5*time.Minute, 365*day), "good: for a client")
	m.leaf(intermediate, server("expired", -60*day, -30*day), "a server's, over since a month")
	m.leaf(intermediate, server("future", 30*day, 120*day), "a server's, not yet begun")
	t = server("wrongname", -5*time.Minute, 365*day)
	t.Names = []string{"elsewhere.test"}
	m.leaf(intermediate, t, "a server's, for elsewhere.test alone")
	t = server("wronguse", -5*time.Minute, 365*day)
	t.Uses = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
	m.leaf(intermediate, t, "has a server's names, but is for a client")
	t = m.template("toodeep-ca", -5*time.Minute, 1000*day)
	t.Faulty = true // its issuer has path length 0
	tooDeep := m.authority(intermediate, t, "an authority below intermediate, which that may not have")
	t = server("toodeep", -5*time.Minute, 365*day)
	t.Faulty = true
	m.leaf(tooDeep, t, "a server's, signed by toodeep-ca")
	m.leaf(intermediate, client("expired-client", -60*day, -30*day), "a client's, over since a month")

	t = m.template("other-root", -365*day, 3650*day)
	other := m.authority(nil, t, "another authority, which nobody has to trust")
	m.leaf(other, server("other-server", -5*time.Minute, 365*day), "a server's, signed by other-root")
	m.leaf(other, client("other-client", -5*time.Minute, 365*day), "a client's, signed by other-root")
	return m.holders, m.err
}

// A file is one of those that make writes.
type file struct {
	name string
	data []byte
	mode fs.FileMode
}

// fileNames are those of the files of one holder.
func (h *holder) fileNames() []string {
	names := []string{h.name + ".pem", h.name + "-key.pem"}
	if h.chain != nil {
		names = append(names, h.name+"-chain.pem")
	}
	if h.name == "server" {
		names = append(names, "encrypted-key.pem")
	}
	return names
}

// files are those of one holder, in the order of fileNames.
func (h *holder) files() ([]file, error) {
	key, err := tlsx.EncodeKey(h.key, nil)
	if err != nil {
		return nil, err
	}
	names := h.fileNames()
	list := []file{
		{names[0], tlsx.EncodeCertificates(h.cert), 0o644},
		{names[1], key, 0o600},
	}
	if len(names) > 2 {
		list = append(list, file{names[2], tlsx.EncodeCertificates(h.chain...), 0o644})
	}
	if len(names) > 3 {
		locked, err := tlsx.EncodeKey(h.key, &tlsx.Encryption{Passphrase: keyPassword})
		if err != nil {
			return nil, err
		}
		list = append(list, file{names[3], locked, 0o600})
	}
	return list, nil
}

func makeDir(flags *flag.FlagSet) cli.Action {
	force := flags.Bool("force", false, "replace files that are there")
	keys := cli.Choice(flags, "keys", string(tlsx.ECDSAP256), "kind of the keys",
		string(tlsx.ECDSAP256), string(tlsx.ECDSAP384), string(tlsx.Ed25519), string(tlsx.RSA2048), string(tlsx.RSA3072))
	return func(ctx context.Context, env *cli.Env) error {
		if len(env.Args) != 1 {
			return cli.Usagef("make wants one argument: the folder to fill")
		}
		dir := env.Args[0]
		holders, err := lesson(time.Now(), tlsx.KeyType(*keys))
		if err != nil {
			return err
		}
		// Looked at before any is written: half a folder of old certificates
		// and half of new ones would be of no use. Keys are not overwritten
		// unasked, since there is no way back.
		for _, h := range holders {
			for _, name := range h.fileNames() {
				if _, err := os.Lstat(filepath.Join(dir, name)); !*force && !errors.Is(err, fs.ErrNotExist) {
					return fmt.Errorf("%s is there already; -force replaces what is there", filepath.Join(dir, name))
				}
			}
		}
		var list []file
		for _, h := range holders {
			more, err := h.files()
			if err != nil {
				return err
			}
			list = append(list, more...)
		}
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return err
		}
		for _, f := range list {
			if err := tlsx.WriteFile(filepath.Join(dir, f.name), f.data, f.mode, *force); err != nil {
				return err
			}
		}
		for _, h := range holders {
			fmt.Fprintf(env.Stdout, "%-15s %s\n", h.name, h.about)
		}
		_, err = fmt.Fprintf(env.Stdout, "%-15s server's key, locked with the password %s\n", "encrypted-key", keyPassword)
		return err
	}
}
