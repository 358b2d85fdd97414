package main

import (
	"context"
	"crypto"
	"crypto/x509/pkix"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/zocalo-go/zocalo/examples/internal/cli"
	"github.com/zocalo-go/zocalo/tlsx"
)

// A site is what the demo looks at.
type site struct{ chain, key []byte }

// issue has an authority certify a site.
func issue(a *tlsx.Authority, t tlsx.Template) (*site, error) {
	cert, err := a.Issue(t)
	if err != nil {
		return nil, err
	}
	chain, err := tlsx.Chain(cert)
	if err != nil {
		return nil, err
	}
	key, err := tlsx.EncodeKey(cert.PrivateKey.(crypto.Signer), nil)
	if err != nil {
		return nil, err
	}
	return &site{tlsx.EncodeCertificates(chain...), key}, nil
}

// files makes two sites that two authorities have certified, one of them by way
// of an intermediate authority, and chains with faults.
func files() (map[string][]byte, error) {
	name := func(organization, common string) pkix.Name {
		return pkix.Name{Organization: []string{organization}, CommonName: common}
	}
	year := time.Now().AddDate(-1, 0, 0)
	north, err := tlsx.NewAuthority(tlsx.Template{Subject: name("North Trust", "North Root"), NotBefore: year})
	if err != nil {
		return nil, err
	}
	issuing, err := north.Intermediate(tlsx.Template{Subject: name("North Trust", "North Issuing 1"), NotBefore: year})
	if err != nil {
		return nil, err
	}
	south, err := tlsx.NewAuthority(tlsx.Template{Subject: name("South Trust", "South Root"), NotBefore: year})
	if err != nil {
		return nil, err
	}
	shop, err := issue(issuing, tlsx.Template{Subject: name("Susana's shop", "shop.test"), Names: []string{"shop.test", "www.shop.test"}})
	if err != nil {
		return nil, err
	}
	bank, err := issue(south, tlsx.Template{Subject: name("The bank", "bank.test"), Names: []string{"*.bank.test", "bank.test"}})
	if err != nil {
		return nil, err
	}
	old, err := issue(issuing, tlsx.Template{
		Subject: name("Susana's shop", "shop.test"), Names: []string{"shop.test"},
		NotBefore: time.Now().AddDate(0, 0, -100), NotAfter: time.Now().AddDate(0, 0, -10),
	})
	if err != nil {
		return nil, err
	}
	leaf, err := tlsx.ParseCertificates(shop.chain)
	if err != nil {
		return nil, err
	}
	return map[string][]byte{
		"roots.pem": tlsx.EncodeCertificates(north.Cert, south.Cert),
		"shop.pem":  shop.chain, "shop-key.pem": shop.key,
		"bank.pem": bank.chain, "bank-key.pem": bank.key,
		"expired.pem":    old.chain,
		"incomplete.pem": tlsx.EncodeCertificates(leaf[0]), // the server's administrator forgot the rest
	}, nil
}

// write makes a folder with those files.
func write() (dir string, err error) {
	list, err := files()
	if err != nil {
		return "", err
	}
	if dir, err = os.MkdirTemp("", "inspect"); err != nil {
		return "", err
	}
	for name, data := range list {
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o600); err != nil {
			os.RemoveAll(dir)
			return "", err
		}
	}
	return dir, nil
}

func demo(*flag.FlagSet) cli.Action {
	return func(ctx context.Context, env *cli.Env) error {
		dir, err := write()
		if err != nil {
			return err
		}
		defer os.RemoveAll(dir)
		in := func(name string) string { return filepath.Join(dir, name) }
		refused := func(err error, want tlsx.Reason) error {
			f, ok := errors.AsType[*failed](err)
			if !ok || f.Reason != want {
				return fmt.Errorf("%q should have been the reason, not: %v", want, err)
			}
			_, err = fmt.Fprintf(env.Stdout, "  file: %v\n", f)
			return err
		}
		for _, s := range []struct {
			name string
			more []string
		}{{"shop", nil}, {"bank", []string{"-short"}}} {
			srv, err := env.Start(ctx, "serve", "-port", "0", "-cert", in(s.name+".pem"), "-key", in(s.name+"-key.pem"))
			if err != nil {
				return err
			}
			args := append([]string{"host", "-name", "www." + s.name + ".test", "-ca", in("roots.pem")}, s.more...)
			_, err = env.Play(ctx, "", append(args, srv.Addr)...)
			if err := errors.Join(err, srv.Stop()); err != nil {
				return err
			}
		}
		for _, test := range []struct {
			file, name string
			want       tlsx.Reason
		}{
			{"expired.pem", "shop.test", tlsx.Expired},
			{"incomplete.pem", "shop.test", tlsx.UnknownAuthority},
			{"bank.pem", "www.east.bank.test", tlsx.WrongName}, // the asterisk stands for one label
		} {
			_, err := env.Play(ctx, "", "file", "-short", "-ca", in("roots.pem"), "-name", test.name, in(test.file))
			if err := refused(err, test.want); err != nil {
				return err
			}
		}
		_, err = env.Play(ctx, "", "roots", "-file", in("roots.pem"))
		return err
	}
}
